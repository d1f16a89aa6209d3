"""The gallery as people see it: headless Chromium in a real Airflow."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from dev.airflow_deployment import AirflowDeployment
from tests.browser.dags import HOSTILE_PROMPT, ROWS, RUN_ID, THOUSAND

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Shoot

# Times only end what hangs: how fast the gallery is says `make bench-gallery`.
pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

NAV = "/plugin/image-tasks"


def run_tab(dag_id: str) -> str:
    return f"/dags/{dag_id}/runs/{RUN_ID}/plugin/image-tasks-run"


def task_tab(path: str) -> str:
    return f"/dags/{path}/plugin/image-tasks-task"


def wait_for_pictures(page: Page, least: int) -> list[int]:
    """Wait until every picture in sight has loaded, and return their natural widths."""
    page.wait_for_function(
        """least => {
            const images = [...document.querySelectorAll('.it img')];
            const seen = images.filter(image => image.getBoundingClientRect().top < innerHeight);
            return seen.length >= least && seen.every(image => image.complete && image.naturalWidth > 0);
        }""",
        arg=least,
    )
    return page.evaluate("[...document.querySelectorAll('.it img')].map(image => image.naturalWidth)")


def states(page: Page) -> set[str]:
    return set(page.locator(".it-card").evaluate_all("cards => cards.map(card => card.dataset.state)"))


def test_the_navigation_leads_to_the_page_with_the_newest_pictures(page: Page, shoot: Shoot) -> None:
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Image tasks").click()
    page.wait_for_url(f"**{NAV}")

    assert max(wait_for_pictures(page, 6)) > 0
    shoot(page, "page-light")


def test_the_tab_of_a_run_shows_what_came_what_failed_and_what_is_waited_for(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("catalogue"))

    assert len(wait_for_pictures(page, 3)) >= 3
    assert states(page) == {"stored", "failed", "waiting"}
    failed = page.locator(".it-card[data-state=failed]")
    assert sorted(failed.locator(".it-place strong").all_inner_texts()) == [
        "Refused by the content policy",
        "The service failed to make it",
    ]
    age = page.locator(".it-card[data-state=waiting] .it-age")
    before = age.inner_text()
    page.wait_for_function("before => document.querySelector('.it-age').innerText !== before", arg=before)
    shoot(page, "run")


@pytest.mark.parametrize("task", ["submit", "wait", "save"])
def test_the_tab_of_a_mapped_task_instance_shows_its_own_pictures(page: Page, shoot: Shoot, task: str) -> None:
    page.goto(task_tab(f"catalogue/runs/{RUN_ID}/tasks/picture.{task}/mapped/1"))

    assert len(wait_for_pictures(page, 1)) == 1
    assert page.locator(".it-prompt").all_inner_texts() == ["a lighthouse in the fog"]
    shoot(page, f"task-{task}")


def test_the_tab_of_a_waiting_sensor_shows_what_it_waits_for(page: Page, shoot: Shoot) -> None:
    page.goto(task_tab(f"catalogue/runs/{RUN_ID}/tasks/picture.wait/mapped/4"))

    page.wait_for_selector(".it-card[data-state=waiting]")
    assert "a kite that takes its time" in page.locator(".it-prompt").inner_text()
    shoot(page, "task-waiting")


def test_a_waiting_task_has_a_link_that_leads_to_its_pictures(page: Page, airflow: AirflowDeployment) -> None:
    path = f"/dags/catalogue/dagRuns/{RUN_ID}/taskInstances/picture.wait/links"
    links = airflow.api.request("GET", path, params={"map_index": 4})["extra_links"]
    (task,) = [each for each in airflow.api.task_instances("catalogue", RUN_ID, "picture.wait") if each.map_index == 4]

    assert task.state == "deferred"
    page.goto(links["Pictures"])
    page.wait_for_selector(".it-card[data-state=waiting]")


def test_a_prompt_is_text_whatever_is_in_it(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("catalogue"))
    page.get_by_role("button", name=f"Large view: {HOSTILE_PROMPT}").click()
    page.wait_for_selector("dialog.it-viewer[open]")

    assert HOSTILE_PROMPT in page.locator(".it-prompt").all_inner_texts()
    assert page.locator("dialog.it-viewer h2").inner_text() == HOSTILE_PROMPT
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "owned"
    shoot(page, "large-view-hostile")


def test_the_large_view_shows_the_whole_picture_and_goes_on_by_keys(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("catalogue"))
    wait_for_pictures(page, 3)
    page.locator("button.it-picture").nth(1).focus()
    page.keyboard.press("Enter")
    stage = page.locator("dialog.it-viewer .it-stage img")

    page.wait_for_function("document.querySelector('.it-stage img')?.naturalWidth === 1024")
    first = stage.get_attribute("src")
    shoot(page, "large-view")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('.it-stage img').src.indexOf(before) < 0", arg=first)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download").click()
    assert re.fullmatch(r"[\w-]+-\d\.png", downloading.value.suggested_filename)
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.it-viewer", state="detached")
    assert page.evaluate("document.activeElement.className") == "it-picture"


def test_the_path_of_a_picture_can_be_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(run_tab("catalogue"))
    page.locator("button.it-picture").first.click()
    page.get_by_role("button", name="Copy path").click()
    page.get_by_role("button", name="Copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()").startswith("file:///")


def test_filters_leave_what_matches_and_survive_a_reload(page: Page, shoot: Shoot) -> None:
    page.goto(NAV)
    page.get_by_label("Dag", exact=True).select_option("catalogue")
    page.get_by_label("State", exact=True).select_option("failed")
    page.wait_for_function("[...document.querySelectorAll('.it-card')].every(card => card.dataset.state === 'failed')")
    page.wait_for_selector(".it-card[data-state=failed]")

    assert page.locator(".it-card").count() == 2
    shoot(page, "filter")
    page.reload()
    page.wait_for_selector(".it-card[data-state=failed]")
    assert page.locator(".it-card").count() == 2
    page.get_by_role("searchbox").fill("a prompt that nobody wrote")
    page.get_by_text("Nothing matches").wait_for()
    shoot(page, "filter-empty")


def test_the_dark_theme_is_followed(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("catalogue"))
    wait_for_pictures(page, 3)
    light = page.locator(".it-card").first.evaluate("card => getComputedStyle(card).backgroundColor")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.reload()
    wait_for_pictures(page, 3)
    dark = page.locator(".it-card").first.evaluate("card => getComputedStyle(card).backgroundColor")

    def brightness(colour: str) -> float:
        return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3])

    assert brightness(dark) < brightness(light)
    shoot(page, "run-dark")
    page.locator("button.it-picture").first.click()
    page.wait_for_function("document.querySelector('.it-stage img')?.naturalWidth > 0")
    shoot(page, "large-view-dark")
    page.goto(NAV)
    wait_for_pictures(page, 6)
    shoot(page, "page-dark")


def test_a_run_and_a_task_without_pictures_say_so(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("no_pictures"))
    page.get_by_text("No pictures in this run").wait_for()
    shoot(page, "run-empty")
    page.goto(task_tab(f"no_pictures/runs/{RUN_ID}/tasks/save"))
    page.get_by_text("No pictures here").wait_for()
    shoot(page, "task-empty")


def test_a_picture_outside_the_roots_is_told_of_and_not_shown(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("kept_elsewhere"))

    page.get_by_text("Stored outside the folders that the gallery may show").wait_for()
    assert page.locator(".it img").count() == 0
    shoot(page, "outside")


@pytest.mark.parametrize(
    ("status", "words"), [(403, "No permission"), (401, "Your session has ended"), (500, "The pictures cannot be read")]
)
def test_an_error_is_said_in_words_and_can_be_tried_again(page: Page, shoot: Shoot, status: int, words: str) -> None:
    pattern = "**/imagetasks/api/**"
    page.route(pattern, lambda route: route.fulfill(status=status, json={}))
    page.goto(run_tab("catalogue"))
    page.get_by_text(words).wait_for()
    shoot(page, f"error-{status}")
    page.unroute(pattern)

    page.get_by_role("button", name="Try again").click()
    wait_for_pictures(page, 3)


def test_a_batch_tells_how_far_it_is_while_deferred_and_shows_its_rows_at_the_end(
    page: Page, shoot: Shoot, airflow: AirflowDeployment
) -> None:
    airflow.api.trigger_dag("batch", run_id=RUN_ID)
    airflow.api.wait_for_task_state("batch", RUN_ID, "make", "deferred", timeout=300)
    page.goto(task_tab(f"batch/runs/{RUN_ID}/tasks/make"))
    bar = page.get_by_role("progressbar", name="Batch make")
    while_deferred: set[str] = set()
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        before = batch_state(airflow)
        if before in ("success", "failed"):
            break
        value = bar.get_attribute("aria-valuetext")
        if value is not None and before == batch_state(airflow) == "deferred":
            while_deferred.add(value)
            if len(while_deferred) == 2:
                shoot(page, "batch-under-way")
        page.wait_for_timeout(300)

    assert batch_state(airflow) == "success"
    assert len(while_deferred) >= 2, while_deferred
    assert any("ready at the service, about to be stored" in each for each in while_deferred)
    page.get_by_text(f"{ROWS} of {ROWS} done").wait_for()
    page.locator(".it-card[data-state=failed]").wait_for()
    page.locator("button.it-picture").first.click()
    page.get_by_text(f"1 of {ROWS}", exact=True).wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.it-viewer", state="detached")
    shoot(page, "batch-done")
    page.goto(f"{NAV}?pictures_dag_id=batch")
    wait_for_pictures(page, 4)
    shoot(page, "page-batch")
    page.get_by_role("link", name="Batch make").click()
    page.wait_for_url("**/plugin/image-tasks-task")


def batch_state(airflow: AirflowDeployment) -> str | None:
    (task,) = airflow.api.task_instances("batch", RUN_ID, "make")
    return task.state


def test_a_thousand_pictures_come_page_by_page_and_only_those_near_sight_are_in_the_page(
    page: Page, shoot: Shoot
) -> None:
    pages: list[str] = []
    thumbnails: list[str] = []

    def note(url: str) -> None:
        path = unquote(urlsplit(url).path)
        if path.endswith("/thumbnail"):
            thumbnails.append(path)
        elif path.endswith(f"/runs/{RUN_ID}/pictures"):
            pages.append(parse_qs(urlsplit(url).query).get("cursor", [""])[0])

    page.on("request", lambda request: note(request.url))
    page.goto(run_tab("thousand"))
    wait_for_pictures(page, 8)
    shoot(page, "thousand")

    assert set(pages) == {""}
    assert len(thumbnails) < 60
    cards = page.locator(".it-card")
    most = cards.count()
    last = page.get_by_text(f"number {THOUSAND - 1} of 1,000")
    deadline = time.monotonic() + 300
    while not last.count() and time.monotonic() < deadline:
        page.locator(".it-page").evaluate("place => place.scrollBy(0, 3 * place.clientHeight)")
        page.wait_for_timeout(100)
        most = max(most, cards.count())
    last.first.scroll_into_view_if_needed()
    wait_for_pictures(page, 4)
    assert most < 150
    assert len(set(pages)) == 17
    # Back at the top the first cards are there again, and nothing is read anew for them.
    before = len(set(pages))
    page.locator(".it-page").evaluate("place => place.scrollTo(0, 0)")
    page.get_by_text("number 0 of 1,000").first.wait_for()
    assert len(set(pages)) == before
    # Who comes back is where they were.
    page.locator(".it-page").evaluate("place => place.scrollTo(0, 2000)")
    # A click of Playwright's own would scroll.
    page.wait_for_function(
        """() => {
            const isInSight = each => each.getBoundingClientRect().top > innerHeight / 3;
            const link = [...document.querySelectorAll('a.it-origin')].find(isInSight);
            link?.click();
            return Boolean(link);
        }"""
    )
    page.wait_for_url("**/tasks/**")
    page.go_back()
    page.wait_for_url(f"**{run_tab('thousand')}")
    page.wait_for_function("() => document.querySelector('.it-page')?.scrollTop > 1000")
