"""The Airflow plugin, which the entry point ``airflow.plugins`` names.

Airflow imports this module in every process, each task's too, so nothing heavy may be imported with it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow import __version__ as airflow_version
from airflow.plugins_manager import AirflowPlugin

from airflow_provider_imagetasks import __version__

URL_PREFIX = "/imagetasks"
NAV_ROUTE = "image-tasks"
TABS = {"dag": "image-tasks-dag", "dag_run": "image-tasks-run", "task_instance": "image-tasks-task"}
"""Routes of the tabs by the place that Airflow knows them by."""
NAV_NAME = "Image tasks"
TAB_NAME = "Pictures"
OVERVIEW_NAME = "Newest pictures"


def has_overview(version: str) -> bool:
    """Whether the overview of a Dag has a place for plugins; an Airflow without it refuses them all."""
    return tuple(map(int, version.split(".")[:2])) >= (3, 4)


_HAS_OVERVIEW = has_overview(airflow_version)


class ImageTasksPlugin(AirflowPlugin):
    """A page in the navigation, a tab on Dags, Dag runs and task instances, and the routes that they read from.

    On Airflow 3.4 and newer also the newest pictures on the overview of a Dag.
    """

    name = "imagetasks"

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """One script under an address for each place: Airflow does not run again what it has loaded already."""
        icon, dark_icon = self._static("icon.svg"), self._static("icon-dark.svg")
        return [
            # Airflow's own entries of that menu have no icon.
            {**self._app(NAV_NAME, NAV_ROUTE, "nav"), "category": "browse"},
            *(
                # Where there is little room, Airflow shows a tab by its icon only.
                {**self._app(TAB_NAME, route, place), "icon": icon, "icon_dark_mode": dark_icon, **_scope()}
                for place, route in TABS.items()
            ),
            *(
                [{**self._app(OVERVIEW_NAME, "image-tasks-newest", "dag_overview"), **_scope()}]
                if _HAS_OVERVIEW
                else []
            ),
        ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The routes, made when the api-server asks for them."""
        from airflow_provider_imagetasks.ui.plugin_application import create_application

        return [{"app": create_application(), "url_prefix": URL_PREFIX, "name": "Image tasks"}]

    def _app(self, name: str, route: str, destination: str) -> dict[str, Any]:
        return {
            "name": name,
            "url_route": route,
            "destination": destination,
            "bundle_url": self._static(f"gallery.js?at={destination}&version={__version__}"),
        }

    def _static(self, name: str) -> str:
        from airflow.providers.common.compat.sdk import conf

        # Behind a reverse proxy Airflow may lie under a path.
        path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
        return f"{path}{URL_PREFIX}/static/{name}"


def _scope() -> dict[str, Any]:
    """Return what says on which Dags something is shown, for Airflow 3.4; older ones show it on all of them."""
    from airflow.providers.common.compat.sdk import conf

    tags = [tag.strip() for tag in (conf.get("imagetasks", "gallery_dag_tags", fallback="") or "").split(",")]
    named = [tag for tag in tags if tag]
    return {"applies_to": {"dag.tags.name": named}} if named else {}
