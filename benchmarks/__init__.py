"""Measures what waiting and downloading cost, side by side with what others install for the same. ``make bench``."""
