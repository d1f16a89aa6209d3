"""A Clear from a failed card: it says what will be paid before it is done, and what came of it whatever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.test_gallery_in_browser import run_tab

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

NOTHING_PAID = {"class": "DownloadError", "code": None, "message": "HTTP 503", "billed": "yes"}
AGAIN = {"task_id": "save", "map_index": -1, "pays": "nothing"}


def task(task_id: str, operator: str = "ImageTaskDownloadOperator") -> dict[str, Any]:
    return {"task_id": task_id, "map_index": -1, "state": "failed", "operator": operator}


def open_clear(page: Page, answer: Any, *, clears: tuple[dict[str, Any], ...] = (AGAIN,)) -> None:
    """Begin the Clear of a card, with Airflow's answers to what it would clear."""

    def change(route: Route) -> None:
        told = route.fetch()
        content = told.json()
        content["items"] = [{**each, "error": NOTHING_PAID, "clears": clears} for each in content["items"]]
        route.fulfill(response=told, json=content)

    page.route("**/imagetasks/api/dags/**/pictures", change)
    page.route("**/clearTaskInstances", answer)
    page.goto(run_tab("broken_downloads"))
    page.get_by_role("button", name="Clear…").click()


@pytest.mark.parametrize(
    ("pays", "others", "told"),
    [
        ("nothing", (), "It costs nothing"),
        ("nothing", (task("report", "BashOperator"),), "It costs nothing"),
        ("nothing", (task("edit", "ImageTaskSubmitOperator"),), "What these submit is paid for: edit."),
        ("picture", (task("many", "_ImageBatchDecoratedOperator"),), "What these submit is paid for too: many."),
    ],
)
def test_what_tasks_downstream_submit_is_part_of_what_a_clear_costs(
    page: Page, pays: str, others: tuple[dict[str, Any], ...], told: str
) -> None:
    taken = [task("save"), *others]
    open_clear(page, lambda route: route.fulfill(json={"task_instances": taken}), clears=({**AGAIN, "pays": pays},))

    page.locator(".it-confirm").get_by_text(told).wait_for()
    submits = told.startswith("What")
    assert page.locator(".it-confirm").get_by_text("It costs nothing").count() == int(not submits)


@pytest.mark.parametrize("is_page", [True, False], ids=["a login page answers", "nothing answers"])
def test_a_clear_without_an_answer_says_so_in_words(page: Page, is_page: bool) -> None:
    def answer(route: Route) -> None:
        if route.request.post_data_json["dry_run"]:
            route.fulfill(json={"task_instances": [task("save")]})
        elif is_page:
            route.fulfill(body="<html>Log in</html>", content_type="text/html")
        else:
            route.abort()

    open_clear(page, answer)
    page.get_by_role("button", name="Clear", exact=True).click()

    page.get_by_text("Airflow did not answer as expected, so it may have been cleared.").wait_for()


def test_where_nothing_is_left_to_clear_nothing_can_be_confirmed(page: Page) -> None:
    open_clear(page, lambda route: route.fulfill(json={"task_instances": []}))

    page.get_by_text("There is nothing to clear").wait_for()
    assert page.get_by_role("button", name="Clear", exact=True).is_disabled()


def test_a_clear_in_a_paused_dag_says_that_nothing_runs_yet(page: Page) -> None:
    def pause(route: Route) -> None:
        told = route.fetch()
        # Airflow's own pages ask for it too.
        route.fulfill(response=told, json={**told.json(), "is_paused": True})

    page.route("**/api/v2/dags/broken_downloads", pause)
    open_clear(page, lambda route: route.fulfill(json={"task_instances": [task("save")]}))

    page.get_by_text("The Dag is paused: what is cleared waits until somebody turns it on.").wait_for()


def test_keys_still_arrive_after_a_clear_that_was_left(page: Page) -> None:
    open_clear(page, lambda route: route.fulfill(json={"task_instances": [task("save")]}))
    page.get_by_role("button", name="Leave as it is").press("Enter")
    page.get_by_role("button", name="Clear to try again").wait_for()

    assert page.evaluate("document.activeElement.closest('dialog.it-viewer') !== null")


def test_that_it_was_cleared_stays_in_sight_while_the_card_is_gone_and_asks_for_nothing_when_it_is_back(
    page: Page,
) -> None:
    is_gone = [False]

    def show(route: Route) -> None:
        told = route.fetch()
        content = told.json()
        failed = [{**each, "error": NOTHING_PAID, "clears": [AGAIN]} for each in content["items"]]
        # As Airflow 3.4 shows it between an attempt and the next.
        route.fulfill(response=told, json={**content, "items": [] if is_gone[0] else failed})

    def clear(route: Route) -> None:
        is_gone[0] = is_gone[0] or not route.request.post_data_json["dry_run"]
        route.fulfill(json={"task_instances": [task("save")]})

    open_clear(page, clear)
    page.unroute("**/imagetasks/api/dags/**/pictures")
    page.route("**/imagetasks/api/dags/**/pictures", show)
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_text("Cleared. Airflow runs it again.").wait_for()
    page.locator("ul.it-grid").wait_for(state="detached")
    assert page.get_by_text("Cleared. Airflow runs it again.").is_visible()

    is_gone[0] = False
    page.locator("ul.it-grid").wait_for(state="attached")
    assert page.locator(".it-confirm").count() == 0
    assert page.get_by_text("Cleared. Airflow runs it again.").is_visible()
