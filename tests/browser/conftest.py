"""A real Airflow with pictures in it, and a Chromium that is logged in."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from dev.airflow_deployment import AirflowDeployment
from dev.airflow_settings import database_file
from dev.local_image_service import LocalImageServiceProcess
from tests.browser.dags import BATCH, CATALOGUE, HOSTILE_PROMPT, ROWS, RUN_ID, THOUSAND
from tests.system.conftest import CHECKOUT
from tests.system.deployments import connections, require_success, start_runs, write_dag

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = CHECKOUT / "test-ui-output"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SAMPLES = 24

Shoot = Callable[["Page", str], None]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only gallery root, with some pictures in it."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "samples").mkdir()
    for number in range(SAMPLES):
        colours = Image.linear_gradient("L").rotate(number * 15, expand=False).resize((1024, 1024))
        hue = Image.new("L", (1024, 1024), number * 255 // SAMPLES)
        Image.merge("HSV", (hue, hue.point(lambda _: 150), colours.point(lambda value: 120 + value // 2))).convert(
            "RGB"
        ).save(folder / f"samples/{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Iterator[AirflowDeployment]:
    """An Airflow with a run of each Dag of the suite, and those that should be over are."""
    with LocalImageServiceProcess(latency="1-2", folder=CHECKOUT) as service:
        environment = {
            **connections(service, default="local"),
            "AIRFLOW__IMAGETASKS__GALLERY_ROOTS": f"file://{pictures}",
        }
        with AirflowDeployment(environment=environment) as deployment:
            fill(deployment, pictures)
            yield deployment


def fill(deployment: AirflowDeployment, pictures: Path) -> None:
    """Run the Dags, and see that what should be over is."""
    source = CATALOGUE.format(folder=pictures, hostile=HOSTILE_PROMPT)
    over = ("kept_elsewhere", "no_pictures", "portraits", "thousand")
    start_runs(deployment, source, "catalogue", "broken_downloads", *over, run_id=RUN_ID)
    for dag_id in over:
        require_success(deployment, dag_id, RUN_ID, timeout=240)
    deployment.api.wait_for_task_state("catalogue", RUN_ID, "picture.save", "success", map_index=5, timeout=90)
    deployment.api.wait_for_task_state("catalogue", RUN_ID, "picture.wait", "failed", map_index=3, timeout=90)
    deployment.api.wait_for_task_state("broken_downloads", RUN_ID, "save", "failed", timeout=90)
    write_dag(deployment, "batch", BATCH.format(folder=pictures, rows=ROWS))
    write_thousand(deployment, pictures)


def write_thousand(deployment: AirflowDeployment, pictures: Path) -> None:
    """Write down a thousand image tasks and their pictures, as if as many mapped tasks had pushed them."""
    samples = sorted(pictures.glob("samples/*.png"))
    folder = pictures / "thousand"
    folder.mkdir()
    rows = []
    (run,) = deployment.database.query("SELECT id FROM dag_run WHERE dag_id = 'thousand'")
    # Older than the other pictures, so that those come first on the page.
    moment = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.%f")

    def entry(task_id: str, index: int, key: str, value: Any) -> tuple[Any, ...]:
        return (run["id"], task_id, index, key, "thousand", RUN_ID, json.dumps(value), moment)

    for number in range(THOUSAND):
        os.link(samples[number % len(samples)], folder / f"{number}.png")
        told = {"id": f"it-{number}", "service": "local", "conn_id": "imagetasks_default", "model": "gpt-image-2"}
        record = {**told, "prompt": f"number {number} of a thousand", "state": "succeeded", "image_count_requested": 1}
        file = {"uri": f"file://{folder}/{number}.png", "sha256": str(number), "width": 1024, "height": 1024}
        files = {"files": [{**file, "image_task_id": f"it-{number}", "index": 0}]}
        rows.append(entry("submit", number, "image_task", {**told, "prompt": record["prompt"]}))
        rows.append(entry("wait", number, "return_value", {**record, "duration": 2.0, "images": []}))
        rows.append(entry("save", number, "return_value", files))
    with closing(sqlite3.connect(database_file(deployment.home), timeout=60)) as connection, connection:
        connection.executemany(
            "INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium without a window: the machine's own, or the one that CHROMIUM names."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail(
            f"No browser found (tried {', '.join(BROWSERS)}). Install one (Debian: apt-get install chromium), or name "
            "it: CHROMIUM=/path/to/chromium make test-ui",
            pytrace=False,
        )
    with sync_playwright() as playwright:
        # Its sandbox cannot be set up by root, which is who runs in a container.
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session_state(browser: Browser, airflow: AirflowDeployment) -> Any:
    """The cookies of somebody who logged in by the login page."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(airflow.url)
    page.fill("input[name=username]", airflow.login.user)
    page.fill("input[name=password]", airflow.login.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, airflow: AirflowDeployment, session_state: Any) -> Iterator[Page]:
    """A page of a logged-in user; an error in it fails the test."""
    context = browser.new_context(
        base_url=airflow.url, storage_state=session_state, viewport={"width": 1440, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def shoot() -> Shoot:
    """Take a screenshot into a folder that git ignores."""
    SCREENSHOTS.mkdir(exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return take
