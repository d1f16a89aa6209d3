"""What Airflow's configuration says to the plugin."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.submissions.callback_urls import callback_secret
from airflow_provider_imagetasks.ui.roots import Location, read_roots

_log = logging.getLogger(__name__)


def gallery_roots() -> tuple[Location, ...]:
    """Return ``[imagetasks] gallery_roots``; nothing is shown where the option cannot be read."""
    try:
        return read_roots(conf.get("imagetasks", "gallery_roots", fallback=""))
    except ValueError as error:
        _log.error("The gallery shows no pictures: %s", error)
        return ()


def secret_of_callbacks() -> str | None:
    """Return what callbacks are signed with; None where they are off, or cannot be used as they are set up."""
    try:
        return callback_secret()
    except InvalidRequestError as error:
        _log.error("Callbacks are off: %s", error.message)
        return None


def base_path() -> str:
    """Return the path that Airflow lies under behind a reverse proxy, without a slash at the end."""
    return urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
