"""Status questions: how they are asked, and when a wait is over."""
