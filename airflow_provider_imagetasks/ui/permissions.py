"""The user's rights: who may see the XComs of a Dag in Airflow sees its pictures, and nobody else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends

User = GetUserDep
"""The user who asks; 401 for nobody."""

MayReadDag: Any = Annotated[None, Depends(requires_access_dag("GET", DagAccessEntity.XCOM))]
"""403 unless the user may read the XComs of the Dag that the path names as ``dag_id``."""

MayReadTasks: Any = Annotated[None, Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))]
"""403 unless the user may read the task instances of that Dag."""


def readable_dags(dag_ids: Iterable[str], user: BaseUser) -> set[str]:
    """Return which of these Dags the user may read with their XComs."""
    manager = get_auth_manager()
    authorized = manager.get_authorized_dag_ids(user=user, method="GET") & set(dag_ids)
    may_read = partial(manager.is_authorized_dag, method="GET", access_entity=DagAccessEntity.XCOM, user=user)
    return {dag_id for dag_id in authorized if may_read(details=DagDetails(id=dag_id))}
