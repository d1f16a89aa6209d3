"""The plugin's entry: light, since every process of Airflow imports it, and with addresses that all versions load."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_imagetasks.ui import plugin
from airflow_provider_imagetasks.ui.plugin import ImageTasksPlugin

HEAVY = ("fastapi", "PIL", "airflow.api_fastapi", f"{ImageTasksPlugin.__module__}_application", "aiohttp", "requests")
IMPORT = """
import sys
from airflow.plugins_manager import AirflowPlugin
before = set(sys.modules)
from airflow_provider_imagetasks.ui.plugin import ImageTasksPlugin
ImageTasksPlugin().react_apps
print(*sorted(set(sys.modules) - before))
"""


def test_importing_it_brings_nothing_heavy_into_a_task_s_process() -> None:
    answer = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, timeout=100)

    new = answer.stdout.splitlines()[-1].split()

    assert "airflow_provider_imagetasks.ui.plugin" in new
    assert not [name for name in new if name.startswith(HEAVY)]


@pytest.fixture(autouse=True)
def usual_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow whose overview of a Dag has no place for plugins."""
    monkeypatch.setattr(plugin, "_HAS_OVERVIEW", False)


@pytest.mark.parametrize(("version", "has"), [("3.3.2", False), ("3.4.0b2", True), ("3.10.0", True), ("4.0.0", True)])
def test_the_overview_of_a_dag_has_the_newest_pictures_where_airflow_has_a_place_for_them(
    monkeypatch: pytest.MonkeyPatch, version: str, has: bool
) -> None:
    monkeypatch.setattr(plugin, "_HAS_OVERVIEW", plugin.has_overview(version))

    apps = {app["destination"]: app for app in ImageTasksPlugin().react_apps}

    assert ("dag_overview" in apps) is has
    if has:
        # Airflow finds the component by this name.
        script = Path(plugin.__file__).with_name("static") / "gallery.js"
        assert f'globalThis["{apps["dag_overview"]["name"]}"] = Overview' in script.read_text()


def test_each_place_has_an_address_of_its_own_since_airflow_runs_a_script_once() -> None:
    apps = ImageTasksPlugin().react_apps

    assert [app["destination"] for app in apps] == ["nav", "dag", "dag_run", "task_instance"]
    assert len({app["bundle_url"] for app in apps}) == len({app["url_route"] for app in apps}) == 4
    assert all(re.match(r"/imagetasks/static/gallery\.js\?", app["bundle_url"]) for app in apps)


def test_tabs_have_an_icon_for_where_there_is_little_room_and_the_entry_of_the_menu_has_none_like_airflow_s() -> None:
    entry, *tabs = ImageTasksPlugin().react_apps

    assert "icon" not in entry
    assert all(tab["icon"].endswith(".svg") and tab["icon_dark_mode"].endswith(".svg") for tab in tabs)


@pytest.mark.parametrize(
    ("tags", "scope"),
    [("", None), (" , ", None), ("pictures", ["pictures"]), ("pictures, covers,", ["pictures", "covers"])],
)
def test_tabs_are_on_all_dags_unless_tags_say_which_and_the_page_is_always_there(
    monkeypatch: pytest.MonkeyPatch, tags: str, scope: list[str] | None
) -> None:
    monkeypatch.setattr(plugin, "_HAS_OVERVIEW", True)
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_DAG_TAGS", tags)

    entry, *tabs = ImageTasksPlugin().react_apps

    assert "applies_to" not in entry
    assert {str(tab.get("applies_to", {}).get("dag.tags.name")) for tab in tabs} == {str(scope)}


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("", ""),
        ("http://host:8080", ""),
        ("https://host/", ""),
        ("https://host/a/b", "/a/b"),
        ("https://host/a/", "/a"),
    ],
)
def test_behind_a_proxy_s_path_the_addresses_begin_with_it(
    monkeypatch: pytest.MonkeyPatch, base_url: str, path: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)

    app = ImageTasksPlugin().react_apps[1]

    for name in ("bundle_url", "icon", "icon_dark_mode"):
        assert app[name].startswith(f"{path}/imagetasks/static/")
