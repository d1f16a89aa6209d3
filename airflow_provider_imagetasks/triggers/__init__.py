"""Triggers that wait for image tasks on the triggerer."""
