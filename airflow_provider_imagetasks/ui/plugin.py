"""The Airflow plugin, which the entry point ``airflow.plugins`` names.

Airflow imports this module in every process, each task's too, so nothing heavy may be imported with it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_imagetasks import __version__

URL_PREFIX = "/imagetasks"
NAV_ROUTE = "image-tasks"
RUN_ROUTE = "image-tasks-run"
TASK_ROUTE = "image-tasks-task"
NAV_NAME = "Image tasks"
TAB_NAME = "Pictures"


class ImageTasksPlugin(AirflowPlugin):
    """A page in the navigation, a tab on Dag runs and task instances, and the routes that they read from."""

    name = "imagetasks"

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """One script under three addresses: Airflow does not run a script again that it has loaded already."""
        return [
            {
                **self._app(NAV_NAME, NAV_ROUTE, "nav"),
                "category": "browse",
                "icon": self._static("icon.svg"),
                "icon_dark_mode": self._static("icon-dark.svg"),
            },
            self._app(TAB_NAME, RUN_ROUTE, "dag_run"),
            self._app(TAB_NAME, TASK_ROUTE, "task_instance"),
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
