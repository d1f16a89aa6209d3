"""The real-Airflow rig of the demo and of the system tests. Not part of the wheel."""
