"""The user's rights: only who may read the XComs of a Dag sees its pictures, and nobody who is not logged in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from airflow import models, settings
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.base import Base
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.ui.permissions import MayReadDag, User, readable_dags
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.plugin_application import create_application

USER = SimpleAuthManagerUser(username="guest", role="viewer")


class XComReaders(SimpleAuthManager):
    """An auth manager under which the user may see two Dags, and the XComs of one of them and of a deleted one."""

    def get_authorized_dag_ids(self, **_: Any) -> set[str]:
        return {"readable", "without_xcoms", "never_asked_for"}

    def is_authorized_dag(self, *, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        assert (method, user, access_entity) == ("GET", USER, DagAccessEntity.XCOM)
        return details is not None and details.id in ("readable", "deleted")


@pytest.fixture(autouse=True)
def auth_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", f"{__name__}.XComReaders")
    create_auth_manager()


@pytest.fixture(scope="module")
def tables() -> Iterator[None]:
    """Airflow's own tables, empty: its check looks for the team of a Dag."""
    models.import_all_models()
    # Not among the models, but some of their tables refer to its own.
    importlib.import_module("airflow.jobs.job")
    Base.metadata.create_all(settings.engine)
    yield
    Base.metadata.drop_all(settings.engine)


@pytest.fixture
def application(tables: None) -> FastAPI:
    application = FastAPI()

    @application.get("/dags/{dag_id}")
    def of_dag(_: MayReadDag, dag_id: str) -> str:
        return dag_id

    @application.get("/me")
    def me(user: User) -> str:
        return user.get_name()

    return application


def test_of_several_dags_those_are_readable_that_the_user_may_see_with_their_xcoms() -> None:
    assert readable_dags(["readable", "without_xcoms", "deleted", "unknown"], USER) == {"readable"}
    assert readable_dags([], USER) == set()


def test_a_route_of_a_dag_answers_only_who_may_read_its_xcoms(application: FastAPI) -> None:
    application.dependency_overrides[get_user] = lambda: USER
    client = TestClient(application)

    statuses = {name: client.get(f"/dags/{name}").status_code for name in ("readable", "without_xcoms", "unknown")}
    assert statuses == {"readable": 200, "without_xcoms": 403, "unknown": 403}
    assert client.get("/me").json() == "guest"


def test_who_is_not_logged_in_is_told_so(application: FastAPI) -> None:
    client = TestClient(application)

    assert {client.get(path).status_code for path in ("/dags/readable", "/me")} == {401}


def routes_of(application: FastAPI, dag_id: str) -> list[tuple[str, str]]:
    """Return method and address of all that the gallery answers, for a Dag."""
    routes = [route for route in application.routes if isinstance(route, APIRoute)]
    values = {"dag_id": dag_id, "run_id": "a_run", "task_id": "submit", "map_index": "-1", "token": "x"}
    own = [(min(route.methods), route.path.format(**values)) for route in routes if "/callback" not in route.path]
    return [(method, path if dag_id in path else f"{path}?dag_id={dag_id}") for method, path in own]


def test_each_route_answers_nobody_and_only_who_may_read_the_dag(tables: None) -> None:
    application = create_application()
    client = TestClient(application)
    link = f"dags/without_xcoms/pictures/{PictureLinks('secret').token('without_xcoms', 'file:///pics/a.png', '')}"
    theirs, form = routes_of(application, "without_xcoms"), {"pictures": [link]}
    assert len(theirs) >= 9

    nobody = {path: client.request(method, path, data=form).status_code for method, path in theirs}
    application.dependency_overrides[get_user] = lambda: USER
    guest = {path: client.request(method, path, data=form).status_code for method, path in theirs}

    assert set(nobody.values()) == {401}
    assert {path: status for path, status in guest.items() if status != 403} == {
        # A link of any Dag may stand in its form.
        "/api/archive?dag_id=without_xcoms": 404
    }
