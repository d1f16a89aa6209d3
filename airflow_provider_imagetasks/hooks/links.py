"""Extra links of a task instance: its pictures in Airflow, and the service's own page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

CONSOLE_ATTRIBUTE = "image_service_console_url"
"""What a task sets while it runs, once it knows its connection; a link looks nothing up."""


class PicturesLink(BaseOperatorLink):
    """The tab with the task instance's pictures."""

    name = "Pictures"
    xcom_key = "_link_imagetasks_pictures"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address of the tab."""
        base_url = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
        # As Airflow writes them in its own addresses: it knows a place again by the very text.
        dag_id, run_id, task_id = (
            quote(part, safe="~!*()':@&=+$,;") for part in (ti_key.dag_id, ti_key.run_id, ti_key.task_id)
        )
        index = getattr(ti_key, "map_index", -1)
        mapped = f"/mapped/{index}" if index is not None and index >= 0 else ""
        region_id, region_index = getattr(ti_key, "region_id", None), getattr(ti_key, "region_index", None)
        # Since Airflow 3.4 nothing else tells iterations of a loop apart; all zeros is the region of what has none.
        region = (
            f"?region_id={region_id}&region_index={region_index}" if region_id is not None and region_id.int else ""
        )
        return f"{base_url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/image-tasks-task{region}"


class ServiceConsoleLink(BaseOperatorLink):
    """The page on which the service shows the account's image tasks and charges; for services that have one."""

    name = "Image service console"
    xcom_key = "_link_imagetasks_console"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address of the page, nothing for a service without one."""
        return getattr(operator, CONSOLE_ATTRIBUTE, None) or ""
