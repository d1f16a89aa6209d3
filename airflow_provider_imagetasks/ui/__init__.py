"""What people see in the Airflow UI: the pictures, while they come, and the route that wakes a waiting task."""
