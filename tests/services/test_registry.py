from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from airflow_provider_imagetasks import services
from airflow_provider_imagetasks.services import ENTRY_POINT_GROUP, get_service, known_services
from airflow_provider_imagetasks.services.kie import Kie

BUILT_IN = known_services()
THEIRS = f"{Kie.__module__}:Kie"
"""What stands for somebody else's service."""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretend that a distribution with these entry points is installed."""

    def install(**values: str) -> None:
        entries = [EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP) for name, value in values.items()]
        monkeypatch.setattr(services, "entry_points", lambda group: entries if group == ENTRY_POINT_GROUP else [])
        forget()

    def forget() -> None:
        known_services.cache_clear()
        get_service.cache_clear()

    yield install
    forget()


def test_a_service_is_found_by_its_name() -> None:
    assert {"acedatacloud", "aigptimage", "local"} <= set(BUILT_IN)
    for name in BUILT_IN:
        service = get_service(name)
        assert (service.name, bool(service.title)) == (name, True)
        assert service.default_base_url.startswith("http")
        assert get_service(name) is service
    with pytest.raises(KeyError, match="dall-e"):
        get_service("dall-e")


def test_somebody_else_s_service_comes_by_entry_point_but_takes_no_built_in_name(
    installed: Callable[..., None],
) -> None:
    installed(kiteworks=THEIRS, another=THEIRS, local=THEIRS, odd=f"{services.__name__}:known_services")

    assert known_services() == (*BUILT_IN, "another", "kiteworks", "odd")
    assert isinstance(get_service("kiteworks"), Kie)
    assert get_service("local").title == "Local image service"
    with pytest.raises(TypeError, match="'odd'"):
        get_service("odd")
