"""Batches: thousands of pictures as one Airflow task, which survives being killed at any moment."""
