"""Sensors that wait for image tasks."""
