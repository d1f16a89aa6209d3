"""Odd XComs, odd addresses, and what others do meanwhile: the gallery shows what it can, and says the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.test_gallery_in_browser import run_tab, wait_for_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

INHERITED = ("__proto__", "constructor", "toString", "hasOwnProperty")
"""Names that every object of JavaScript knows."""


def change_cards(page: Page, changed: dict[str, Any]) -> None:
    """Have the pages of the gallery tell other things of all cards."""

    def answer(route: Route) -> None:
        told = route.fetch()
        content = told.json()
        content["items"] = [{**item, **changed} for item in content["items"]]
        route.fulfill(response=told, json=content)

    page.route(re.compile("/imagetasks/api/dags/.*/pictures"), answer)


@pytest.mark.parametrize("name", INHERITED)
def test_no_name_of_an_error_empties_the_page(page: Page, name: str) -> None:
    error = {"class": name, "code": name, "message": "It is said to have failed.", "billed": name}
    change_cards(
        page,
        {
            "state": "failed",
            "error": error,
            "pictures": [],
            "clears": [],
            "log_at": {"task_id": "submit", "map_index": 0},
        },
    )
    page.goto(run_tab("portraits"))
    page.locator(".it-card[data-state=failed]").first.wait_for()

    page.locator(".it-opens").first.click()
    page.locator("dialog.it-viewer[open]").get_by_text("It is said to have failed.").wait_for()
    page.keyboard.press("Escape")
    failures = page.get_by_label("Failure", exact=True).locator("option").all_inner_texts()

    assert failures == ["All", name]


def test_a_card_without_a_moment_counts_from_nothing(page: Page) -> None:
    change_cards(page, {"state": "waiting", "pictures": [], "submitted_at": "yesterday"})
    page.goto(run_tab("portraits"))
    page.locator(".it-card[data-state=waiting]").first.wait_for()

    assert "NaN" not in page.locator(".it-page").inner_text()


def test_the_address_of_a_picture_far_down_opens_it(page: Page) -> None:
    page.goto(run_tab("thousand"))
    page.get_by_role("searchbox").fill("number 987 of")
    page.get_by_text("1 of 1,000 shown").wait_for()
    page.locator("button.it-picture").click()
    page.locator("dialog.it-viewer[open]").wait_for()
    shown = re.sub(r"pictures_search=[^&]*&?", "", page.url)

    page.goto("about:blank")
    page.goto(shown)

    page.locator("dialog.it-viewer[open]").get_by_role("heading", name="number 987 of 1,000").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator("dialog.it-viewer[open]").get_by_role("heading", name="number 988 of 1,000").wait_for()


def test_the_address_of_a_picture_that_is_not_there_says_so_and_closes(page: Page) -> None:
    page.goto(f"{run_tab('portraits')}?pictures_open=nothing%230")
    page.get_by_text("The picture that the URL names is not among those shown here.").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "pictures_open" not in url)

    wait_for_pictures(page, 4)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (("failed", "running"), "is no longer failed, it is running"),
        (("success",), "is no longer failed, it is success"),
    ],
    ids=["cleared between two clicks", "cleared long ago"],
)
def test_a_clear_tells_what_somebody_else_did_meanwhile(page: Page, states: tuple[str, ...], words: str) -> None:
    told, cleared = list(states), []

    def answer(route: Route) -> None:
        if not route.request.post_data_json["dry_run"]:
            cleared.append(route.request.post_data)
        state = told.pop(0) if len(told) > 1 else told[0]
        tasks = [{"task_id": "save", "map_index": -1, "state": state}]
        route.fulfill(json={"task_instances": tasks})

    page.route("**/clearTaskInstances", answer)
    page.goto(run_tab("broken_downloads"))
    page.get_by_role("button", name="Clear…").click()
    if len(states) > 1:
        page.get_by_role("button", name="Clear", exact=True).click()
        page.get_by_text("This has changed in the meantime.").wait_for()

    page.get_by_text(words).wait_for()
    assert cleared == []
    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_text("Cleared. Airflow runs it again.").wait_for()
    assert len(cleared) == 1
