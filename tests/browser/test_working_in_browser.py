"""What people do in the gallery: find, open, understand a failure and mend it, compare, carry away."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.airflow_deployment import AirflowDeployment
from tests.browser.dags import RUN_ID
from tests.browser.test_gallery_in_browser import NAV, run_tab, task_tab, wait_for_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response, Route

    from tests.browser.conftest import Shoot

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

SAVE = f"broken_downloads/runs/{RUN_ID}/tasks/save"


def test_portraits_keep_the_grid(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)

    heights = page.locator(".it-card").evaluate_all("cards => cards.map(card => Math.round(card.offsetHeight))")

    assert len(heights) == 4
    assert len(set(heights)) == 1, heights
    shoot(page, "portraits")


def test_the_filter_of_a_run_leaves_airflow_s_own_parameters_alone(page: Page) -> None:
    refused: list[str] = []

    def note(answer: Response) -> None:
        if answer.status == 422:
            refused.append(answer.url)

    page.on("response", note)
    page.goto(run_tab("catalogue"))
    page.get_by_label("State", exact=True).select_option("failed")
    page.wait_for_url("**pictures_state=failed*")
    page.reload()
    page.wait_for_selector(".it-card[data-state=failed]")

    assert "?state=" not in page.url
    assert "&state=" not in page.url
    assert page.get_by_label("State", exact=True).input_value() == "failed"
    assert refused == []


def test_links_keep_airflow_s_place(page: Page) -> None:
    page.goto(NAV)
    page.locator(".it-origin", has_text="catalogue").first.click()
    page.wait_for_url("**/plugin/image-tasks-run")
    assert f"/runs/{RUN_ID}/" in page.url

    page.locator(".it-origin", has_text="picture.submit").first.click()
    # On Airflow 3.4 the address names the place in the mapped group as well.
    page.wait_for_url("**/plugin/image-tasks-task*")
    assert f"/runs/{RUN_ID}/tasks/picture.submit/mapped/" in page.url


def test_a_failed_download_is_told_where_its_picture_is_missing_and_leads_to_its_log(page: Page, shoot: Shoot) -> None:
    for address in (
        f"{NAV}?pictures_state=failed&pictures_dag_id=broken_downloads",
        run_tab("broken_downloads"),
        task_tab(SAVE),
    ):
        page.goto(address)
        page.locator(".it-card[data-state=failed]").wait_for()
    told = page.locator(".it-card").inner_text()
    assert "The result was not safe to store" in told
    assert "It was billed." in told

    page.locator(".it-opens").click()
    page.get_by_role("link", name="Log of save").wait_for()
    shoot(page, "failure")
    page.get_by_role("link", name="Log of save").click()
    page.wait_for_url(f"**/runs/{RUN_ID}/tasks/save*")


def test_from_a_failed_card_its_task_is_cleared_in_two_clicks(
    page: Page, shoot: Shoot, airflow: AirflowDeployment
) -> None:
    page.goto(run_tab("broken_downloads"))
    page.get_by_role("button", name="Clear…").click()
    page.get_by_text("This clears 3 task instances").wait_for()
    page.get_by_text("A new picture is requested and paid for.").wait_for()
    shoot(page, "clear")

    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_text("Cleared. Airflow runs it again.").wait_for()

    (task,) = airflow.api.task_instances("broken_downloads", RUN_ID, "submit")
    assert task.state != "success" or task.try_number > 1
    airflow.api.wait_for_task_state("broken_downloads", RUN_ID, "save", "failed", timeout=300)


def test_a_clear_that_is_slow_to_answer_is_asked_for_once(page: Page) -> None:
    asked: list[bool] = []

    def answer(route: Route) -> None:
        asked.append(route.request.post_data_json["dry_run"])
        if asked[-1]:
            route.fulfill(json={"task_instances": [{"task_id": "submit", "map_index": -1}]})

    page.route("**/clearTaskInstances", answer)
    page.goto(run_tab("catalogue"))
    page.get_by_role("button", name="Clear…").first.click()
    button = page.get_by_role("button", name="Clear", exact=True)
    with page.expect_request(lambda request: '"dry_run":false' in (request.post_data or "")):
        button.evaluate("button => { button.click(); button.click(); }")

    page.locator(".it-confirm button:disabled").wait_for()
    # Before it clears, it looks whether something has changed.
    assert asked == [True, True, False]


def test_an_api_server_that_fails_is_not_asked_again_at_once(page: Page) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=500, json={})

    page.goto(run_tab("thousand"))
    wait_for_pictures(page, 8)
    page.route("**/imagetasks/api/**/pictures?cursor=*", refuse)
    page.locator("button.it-picture").first.click()
    page.keyboard.press("End")
    page.get_by_text("The last update failed").wait_for(state="attached")
    page.wait_for_timeout(1000)

    assert len(asked) <= 2


def test_a_space_between_words_is_kept_however_slowly_one_types(page: Page) -> None:
    page.goto(run_tab("thousand"))
    page.get_by_role("searchbox").press_sequentially("number ")
    page.wait_for_url("**pictures_search=number*")
    page.get_by_role("searchbox").press_sequentially("98")

    page.wait_for_url("**pictures_search=number+98*")


def test_a_refused_archive_leaves_the_page_where_it_is(page: Page) -> None:
    page.route("**/api/archive", lambda route: route.fulfill(status=404, json={"detail": "There is no such picture"}))
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    page.locator(".it-pick").first.check()
    page.get_by_role("button", name="Download as zip").click()

    page.get_by_text("There is no zip file").wait_for()
    assert page.locator(".it-pick:checked").count() == 1


def test_who_may_not_clear_is_told_so(page: Page) -> None:
    page.route("**/clearTaskInstances", lambda route: route.fulfill(status=403, json={"detail": "Forbidden"}))
    page.goto(run_tab("catalogue"))
    page.get_by_role("button", name="Clear…").first.click()

    page.get_by_text("You may not clear tasks of this Dag.").wait_for()
    assert page.get_by_role("button", name="Clear", exact=True).count() == 0


def test_back_closes_the_large_view_and_a_link_opens_it(page: Page) -> None:
    page.goto(NAV)
    wait_for_pictures(page, 4)
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    page.locator("button.it-picture").nth(1).click()
    page.wait_for_selector("dialog.it-viewer[open]")
    page.keyboard.press("ArrowRight")
    shown = page.url

    page.go_back()
    page.wait_for_selector("dialog.it-viewer", state="detached")
    assert page.url.endswith("/plugin/image-tasks-run")
    page.goto(shown)
    page.wait_for_selector("dialog.it-viewer[open]")
    page.keyboard.press("End")
    page.get_by_text("4 of 4").wait_for()


def test_the_large_view_goes_on_past_what_is_loaded(page: Page) -> None:
    page.goto(run_tab("thousand"))
    wait_for_pictures(page, 8)
    page.locator("button.it-picture").first.click()
    page.keyboard.press("End")
    place = page.locator(".it-side-head span")
    place.filter(has_text="60 of ").wait_for()
    page.keyboard.press("ArrowRight")
    place.filter(has_text="61 of ").wait_for()


def test_a_rare_prompt_is_found_among_a_thousand(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("thousand"))
    page.get_by_role("searchbox").fill("number 987 of")
    page.get_by_text("number 987 of 1,000").first.wait_for()

    assert page.locator(".it-card").count() == 1
    page.get_by_text("1 of 1,000 shown").wait_for()
    shoot(page, "search")


def test_failures_come_first_where_that_is_asked_for_and_stay_so_after_a_reload(page: Page) -> None:
    page.goto(run_tab("catalogue"))
    wait_for_pictures(page, 3)
    page.get_by_label("Order", exact=True).select_option("failed")
    page.wait_for_url("**pictures_order=failed*")
    page.reload()
    page.locator(".it-card[data-state]").first.wait_for()

    states = page.locator(".it-card").evaluate_all("cards => cards.map(card => card.dataset.state)")
    assert states[:2] == ["failed", "failed"]
    assert "failed" not in states[2:]
    assert page.get_by_label("Order", exact=True).input_value() == "failed"


def test_pictures_are_compared_and_carried_away(page: Page, shoot: Shoot) -> None:
    page.goto(run_tab("portraits"))
    wait_for_pictures(page, 4)
    for box in page.locator(".it-pick").all()[:3]:
        box.check()
    page.get_by_role("button", name="Side by side").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.it-column img')].filter(each => each.naturalWidth).length === 3"
    )
    page.wait_for_selector(".it-differs")
    shoot(page, "side-by-side")
    page.keyboard.press("Escape")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as zip").click()

    content = Path(downloading.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 3


def test_what_was_asked_for_can_be_copied_as_python(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(run_tab("portraits"))
    page.locator("button.it-picture").first.click()
    page.get_by_text("1024x1536").wait_for()
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_role("button", name="Copied").wait_for()

    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("ImageTaskSubmitOperator(")
    assert '"quality": "high"' in copied
    assert "    options={" in copied


def test_an_option_with_a_long_name_stays_within_its_column(page: Page) -> None:
    page.route("**/request*", lambda route: route.fulfill(json={"prompt": "a kite", "options": {"o" * 100: "long"}}))
    page.goto(run_tab("portraits"))
    page.locator("button.it-picture").first.click()
    page.get_by_text("o" * 100).wait_for()

    assert page.locator(".it-side").evaluate("side => side.scrollWidth <= side.clientWidth")


def test_moments_are_written_as_airflow_does_in_the_time_zone_that_is_chosen_there(page: Page) -> None:
    told: dict[str, str] = {}
    for zone in ("UTC", "Asia/Tokyo"):
        page.goto(NAV)
        page.evaluate(f"localStorage.setItem('timezone', {zone!r})")
        page.goto(f"{NAV}?pictures_dag_id=portraits")
        told[zone] = page.locator(".it-when").last.inner_text()

    moments = [datetime.fromisoformat(each) for each in (told["Asia/Tokyo"], told["UTC"])]
    assert moments[0] - moments[1] == timedelta(hours=9)


def test_only_services_that_were_used_are_offered(page: Page) -> None:
    page.goto(NAV)
    wait_for_pictures(page, 4)

    assert page.get_by_label("Service", exact=True).count() == 0
    page.goto(f"{NAV}?pictures_service=kie")
    page.get_by_label("Service", exact=True).wait_for()
    assert page.get_by_label("Service", exact=True).locator("option").all_inner_texts() == ["All", "kie"]


def test_totals_are_drawn(page: Page, shoot: Shoot) -> None:
    page.goto(NAV)
    page.get_by_text("Totals").click()
    page.get_by_text("By day").wait_for()

    assert page.locator(".it-bars").count() == 4
    shoot(page, "totals")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(page: Page, shoot: Shoot, theme: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(NAV)
    page.evaluate(f"localStorage.setItem('theme', {theme!r})")
    page.reload()
    page.locator("button.it-picture").first.scroll_into_view_if_needed()
    wait_for_pictures(page, 1)
    assert page.locator(".it-page").evaluate("place => place.scrollWidth <= place.clientWidth")
    shoot(page, f"phone-{theme}")
    page.locator("button.it-picture").first.click()
    page.wait_for_function("document.querySelector('.it-stage img')?.naturalWidth > 0")
    shoot(page, f"phone-large-view-{theme}")
