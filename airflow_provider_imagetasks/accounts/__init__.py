"""What all processes know of an account: its rates, the image tasks that run, what is spent. Kept in one database."""
