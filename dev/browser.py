"""A Chromium without a window, and a login to Airflow in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dev.airflow_deployment import AirflowDeployment

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class NoBrowserError(Exception):
    """No browser was found; the message says how to get one, or to name one."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's own Chromium, or the one that ``CHROMIUM`` names.

    :raises NoBrowserError: there is none.
    """
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise NoBrowserError(
            f"No browser found (tried {', '.join(BROWSERS)}). Install one (Debian: apt-get install chromium), or name "
            "it: CHROMIUM=/path/to/chromium"
        )
    with sync_playwright() as playwright:
        # Its sandbox cannot be set up by root, which is who runs in a container.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


def log_in(browser: Browser, airflow: AirflowDeployment) -> Any:
    """Log in by the login page, and return the cookies that a context takes as ``storage_state``."""
    context = browser.new_context()
    page = context.new_page()
    # The first page of an Airflow that has only just begun takes long on a busy machine.
    page.set_default_timeout(120_000)
    page.goto(airflow.url)
    page.fill("input[name=username]", airflow.login.user)
    page.fill("input[name=password]", airflow.login.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    state = context.storage_state()
    context.close()
    return state
