from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from airflow_provider_imagetasks import services
from airflow_provider_imagetasks.services import ENTRY_POINT_GROUP, get_service, known_services
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.tasks_api import TasksApiService

BUILT_IN = known_services()


class Kiteworks(TasksApiService):
    """Somebody else's service."""

    name = "kiteworks"
    title = "Kiteworks"
    default_base_url = "https://kites.example"
    default_model = default_edit_model = "kite-1"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretend that a distribution with these entry points is installed."""

    def install(**attributes: str) -> None:
        entries = [
            EntryPoint(name=name, value=f"{__name__}:{attribute}", group=ENTRY_POINT_GROUP)
            for name, attribute in attributes.items()
        ]
        monkeypatch.setattr(services, "entry_points", lambda group: entries if group == ENTRY_POINT_GROUP else [])
        forget()

    def forget() -> None:
        known_services.cache_clear()
        get_service.cache_clear()

    yield install
    forget()


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_service_is_found_by_its_name(name: str) -> None:
    service = get_service(name)

    assert service.name == name
    assert service.title
    assert service.default_base_url.startswith("http")
    assert get_service(name) is service


def test_the_built_in_services_are_known() -> None:
    assert {"acedatacloud", "aigptimage", "local"} <= set(BUILT_IN)


def test_an_unknown_service_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="dall-e"):
        get_service("dall-e")


def test_somebody_else_s_service_comes_by_entry_point(installed: Callable[..., None]) -> None:
    installed(kiteworks="Kiteworks", another="Kiteworks")

    assert known_services() == (*BUILT_IN, "another", "kiteworks")
    assert isinstance(get_service("kiteworks"), Service)


def test_a_built_in_name_cannot_be_taken(installed: Callable[..., None]) -> None:
    installed(local="Kiteworks")

    assert known_services() == BUILT_IN
    assert get_service("local").title == "Local image service"


def test_an_entry_point_that_is_no_service_is_refused_by_name(installed: Callable[..., None]) -> None:
    installed(kiteworks="BUILT_IN")

    with pytest.raises(TypeError, match="'kiteworks'"):
        get_service("kiteworks")
