"""The gallery in the Airflow UI, and the route by which services wake a waiting task."""
