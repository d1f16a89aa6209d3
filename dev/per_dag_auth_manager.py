"""An auth manager for tests: Airflow's simple one, except that only its admins may see Dags named ``private_...``."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PerDagAuthManager(SimpleAuthManager):
    """Gives users different rights on different Dags, as FAB's roles do."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **others: Any) -> bool:
        """Say whether a user may do something with a Dag."""
        is_private = details is not None and (details.id or "").startswith("private_")
        if is_private and (user.role or "").lower() != "admin":
            return False
        return bool(super().is_authorized_dag(user=user, details=details, **others))
