"""What a component of the cluster calls its host: an address of its own, as if each had a machine of its own.

Airflow notes it for every task instance and every job, so that the database says which component did what.
"""

from __future__ import annotations

import os

VARIABLE = "IMAGETASKS_COMPONENT_ADDRESS"


def component_hostname() -> str:
    """Return the loopback address that the component was given; for ``[core] hostname_callable``."""
    return os.environ[VARIABLE]
