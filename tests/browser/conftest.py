"""A real Airflow with pictures in it, and a Chromium that is logged in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.browser import NoBrowserError, chromium, log_in
from dev.finished_pictures import sample_pictures, write_finished_pictures
from dev.local_image_service import LocalImageServiceProcess
from tests.browser.dags import BATCH, CATALOGUE, HOSTILE_PROMPT, ROWS, RUN_ID, THOUSAND
from tests.system.conftest import CHECKOUT
from tests.system.deployments import connections, require_success, start_runs, write_dag

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = CHECKOUT / "test-ui-output"
SAMPLES = 24

Shoot = Callable[["Page", str], None]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The only gallery root, with some pictures in it."""
    folder = tmp_path_factory.mktemp("pictures")
    sample_pictures(folder / "samples", SAMPLES)
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
        require_success(deployment, dag_id, RUN_ID, timeout=600)
    deployment.api.wait_for_task_state("catalogue", RUN_ID, "picture.save", "success", map_index=5, timeout=300)
    deployment.api.wait_for_task_state("catalogue", RUN_ID, "picture.wait", "failed", map_index=3, timeout=300)
    deployment.api.wait_for_task_state("broken_downloads", RUN_ID, "save", "failed", timeout=300)
    write_dag(deployment, "batch", BATCH.format(folder=pictures, rows=ROWS))
    samples = sorted(pictures.glob("samples/*.png"))
    write_finished_pictures(deployment, "thousand", RUN_ID, samples, pictures / "thousand", THOUSAND)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium without a window: the machine's own, or the one that CHROMIUM names."""
    try:
        with chromium() as browser:
            yield browser
    except NoBrowserError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def session_state(browser: Browser, airflow: AirflowDeployment) -> Any:
    """The cookies of somebody who logged in by the login page."""
    return log_in(browser, airflow)


@pytest.fixture
def page(browser: Browser, airflow: AirflowDeployment, session_state: Any) -> Iterator[Page]:
    """A page of a logged-in user; an error in it fails the test."""
    context = browser.new_context(
        base_url=airflow.url, storage_state=session_state, viewport={"width": 1440, "height": 900}
    )
    page = context.new_page()
    # What takes longer hangs; how long things take is the business of `make bench-gallery`.
    page.set_default_timeout(60_000)
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
