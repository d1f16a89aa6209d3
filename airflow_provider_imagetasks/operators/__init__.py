"""Operators that submit image tasks and download their pictures."""
