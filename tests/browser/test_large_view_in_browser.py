"""The large view under other keys, mice and languages: what is the browser's own stays the browser's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dev.airflow_deployment import AirflowDeployment
from tests.browser.test_gallery_in_browser import NAV, run_tab, wait_for_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def opened(page: Page) -> Page:
    page.goto(NAV)
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    page.locator("button.it-picture").nth(1).click()
    page.locator("dialog.it-viewer[open]").wait_for()
    return page


@pytest.mark.parametrize("held", ["altKey", "metaKey"])
def test_the_keys_that_go_back_are_left_to_the_browser(opened: Page, held: str) -> None:
    shown = opened.url

    # A browser without a window has no such keys of its own.
    is_left = opened.locator("dialog.it-viewer").evaluate(
        "(dialog, held) => dialog.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowLeft', [held]: true, bubbles: true, cancelable: true}))",
        held,
    )

    assert is_left
    assert opened.url == shown


def test_a_text_that_is_marked_beyond_its_edge_does_not_close_it(opened: Page) -> None:
    title = opened.locator(".it-title").bounding_box()
    dialog = opened.locator("dialog.it-viewer").bounding_box()
    assert title is not None
    assert dialog is not None
    opened.mouse.move(title["x"] + 20, title["y"] + 5)
    opened.mouse.down()
    opened.mouse.move(dialog["x"] + dialog["width"] + 10, title["y"] + 10, steps=5)
    opened.mouse.up()
    assert opened.locator("dialog.it-viewer[open]").count() == 1

    opened.mouse.click(5, 5)
    opened.locator("dialog.it-viewer").wait_for(state="detached")


def test_a_click_on_its_margin_does_not_close_pictures_that_are_side_by_side(page: Page) -> None:
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    for number in range(2):
        page.locator(".it-pick").nth(number).check()
    page.get_by_role("button", name="Side by side").click()
    page.locator("dialog.it-compare[open]").click(position={"x": 5, "y": 60})

    assert page.locator("dialog.it-compare[open]").count() == 1


def test_keys_still_arrive_after_a_copy_where_the_browser_refuses_the_clipboard(opened: Page) -> None:
    refuse = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('only with https')); }"
    opened.evaluate(refuse)
    opened.get_by_role("button", name="Copy prompt").press("Enter")
    opened.get_by_role("button", name="Copied").wait_for()

    opened.keyboard.press("ArrowRight")
    opened.locator(".it-side-head").get_by_text("3 of 4").wait_for()


@pytest.fixture
def phone(browser: Browser, airflow: AirflowDeployment, session_state: Any) -> Iterator[Page]:
    """The smallest screen, with Airflow in Arabic."""
    size: Any = {"width": 320, "height": 640}
    context = browser.new_context(base_url=airflow.url, storage_state=session_state, viewport=size, locale="ar")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.add_init_script("localStorage.setItem('i18nextLng', 'ar')")
    yield page
    context.close()


def test_its_english_words_stand_as_english_in_an_airflow_that_writes_from_right_to_left(phone: Page) -> None:
    phone.goto(NAV)
    phone.locator(".it-card").first.wait_for()
    # Airflow itself does so only where the language comes after its frame.
    phone.evaluate("document.documentElement.dir = 'rtl'")

    spoken = phone.locator(".it-page").evaluate("page => [page.lang, getComputedStyle(page).direction]")

    assert spoken == ["en", "ltr"]
    assert phone.locator(".it-prompt").first.get_attribute("dir") == "auto"


def test_nothing_is_beyond_the_edge_of_the_smallest_screen(phone: Page) -> None:
    phone.goto(NAV)
    phone.get_by_label("Failure", exact=True).wait_for()

    widths = phone.locator(".it-page").evaluate("page => [page.scrollWidth, page.clientWidth]")

    assert widths[0] <= widths[1]
