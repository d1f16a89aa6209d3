"""The gallery for who uses no mouse, or hears it: keys alone, and the rules of axe-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.dags import RUN_ID
from tests.browser.test_gallery_in_browser import NAV, run_tab, task_tab, wait_for_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def the_page(page: Page) -> None:
    page.goto(NAV)
    # On a phone the first card fills what is in sight, and it may be a failure.
    page.locator("button.it-picture").first.scroll_into_view_if_needed()
    wait_for_pictures(page, 1)


def the_totals(page: Page) -> None:
    the_page(page)
    page.locator(".it-totals summary").click()
    page.get_by_text("By day").wait_for()


def a_run(page: Page) -> None:
    page.goto(run_tab("catalogue"))
    page.locator(".it-card[data-state=waiting]").wait_for()


def a_failed_task(page: Page) -> None:
    page.goto(task_tab(f"broken_downloads/runs/{RUN_ID}/tasks/save"))
    page.locator(".it-opens").click()
    page.get_by_role("link", name="Log of save").wait_for()


def a_large_view(page: Page) -> None:
    page.goto(NAV)
    page.locator("button.it-picture").first.click()
    page.wait_for_function("document.querySelector('.it-stage img')?.naturalWidth > 0")


def pictures_side_by_side(page: Page) -> None:
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    for box in page.locator(".it-pick").all()[:2]:
        box.check()
    page.get_by_role("button", name="Side by side").click()
    page.locator(".it-column img").first.wait_for()


# On a phone Airflow leaves its tabs half of the width.
SHOWN = [
    *((show, DESKTOP) for show in (the_page, the_totals, a_run, a_failed_task, a_large_view, pictures_side_by_side)),
    *((show, PHONE) for show in (the_page, the_totals, a_large_view)),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("show", "size"), SHOWN, ids=[f"{show.__name__}-{size['width']}" for show, size in SHOWN])
def test_axe_finds_nothing_wrong_with_what_is_ours(
    page: Page, show: Callable[[Page], None], size: dict[str, int], theme: str
) -> None:
    # Only the environment of these tests has it; others collect the file, too.
    from axe_playwright_python.sync_playwright import Axe

    page.goto("/")
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.set_viewport_size(size)
    show(page)
    page.wait_for_timeout(300)

    found = Axe().run(page, context={"include": [[".it"]]}).response["violations"]

    assert [(rule["id"], node["target"], node["failureSummary"]) for rule in found for node in rule["nodes"]] == []


def press_until(page: Page, key: str, reached: str) -> None:
    """Press a key until what has the focus matches a selector."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement?.matches(selector) ?? false", reached):
            return
    pytest.fail(f"{reached} is not reached by {key}")


def test_from_the_search_to_a_cleared_failure_by_keys_alone(page: Page) -> None:
    page.goto(run_tab("broken_downloads"))
    page.locator(".it-card[data-state=failed]").wait_for()
    page.locator(".it-search").focus()
    page.keyboard.type("a kite")
    page.wait_for_url("**pictures_search=a+kite*")
    page.locator(".it-card[data-state=failed]").wait_for()

    press_until(page, "Tab", ".it-opens")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Log of save").wait_for()
    press_until(page, "Tab", ".it-failure .it-actions button")
    page.keyboard.press("Enter")
    page.get_by_text("This clears").wait_for()
    # The focus is on the deed itself, and leaving it returns to the failure.
    assert page.evaluate("document.activeElement.innerText") == "Clear"
    press_until(page, "Tab", ".it-confirm button:last-child")
    page.keyboard.press("Enter")
    page.get_by_text("This clears").wait_for(state="detached")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.it-viewer", state="detached")
    assert page.evaluate("document.activeElement.matches('.it-opens')")


def test_cards_far_down_are_reached_by_keys_and_the_focus_is_seen(page: Page) -> None:
    page.goto(run_tab("thousand"))
    wait_for_pictures(page, 8)
    page.locator("button.it-picture").first.focus()

    seen = []
    for number in range(1, 81):
        # Who is faster than Airflow comes to "Show more".
        page.get_by_label(f"Large view: number {number} of 1,000", exact=True).wait_for(state="attached")
        press_until(page, "Tab", "button.it-picture")
        seen.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))

    assert seen == [f"Large view: number {number} of 1,000" for number in range(1, 81)]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    box = page.evaluate("(({top, bottom}) => [top, bottom])(document.activeElement.getBoundingClientRect())")
    assert 0 <= box[0] < box[1] <= 900


def test_what_was_picked_is_compared_and_dropped_by_keys_alone(page: Page) -> None:
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    page.locator("button.it-picture").first.focus()
    for _ in range(2):
        press_until(page, "Tab", ".it-pick")
        page.keyboard.press("Space")
    page.get_by_text("2 image tasks selected").wait_for()
    press_until(page, "Tab", ".it-selection button")
    while page.evaluate("document.activeElement.innerText") != "Side by side":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".it-column img").first.wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.it-compare", state="detached")
    while page.evaluate("document.activeElement.innerText") != "Select none":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".it-selection").wait_for(state="detached")
