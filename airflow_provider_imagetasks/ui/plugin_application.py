"""The plugin's routes under ``/imagetasks``. Each one that tells or shows anything asks for the user's rights first."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from airflow.providers.common.compat.sdk import conf
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from airflow_provider_imagetasks.exceptions import InvalidRequestError, without_signatures
from airflow_provider_imagetasks.submissions.callback_urls import callback_secret
from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from airflow_provider_imagetasks.ui.archive_routes import MapIndex, archive_routes
from airflow_provider_imagetasks.ui.callback_route import callback_route
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import DAYS, Gallery, scope_of
from airflow_provider_imagetasks.ui.orders import Orders
from airflow_provider_imagetasks.ui.permissions import MayReadDag, MayReadTasks, User, readable_dags
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks, picture_routes
from airflow_provider_imagetasks.ui.region_query import Region
from airflow_provider_imagetasks.ui.roots import Location, read_roots
from airflow_provider_imagetasks.ui.spending import AccountSpending
from airflow_provider_imagetasks.ui.thumbnails import Thumbnails, usual_folder
from airflow_provider_imagetasks.ui.totals import totals_of

RUN = "/api/dags/{dag_id}/runs/{run_id}"
TASK = RUN + "/tasks/{task_id}/{map_index}"
_log = logging.getLogger(__name__)


Wanted = Annotated[Filter, Depends()]
"""The cards that the query of the request asks for."""


class _Answer(JSONResponse):
    """An answer in JSON, whatever texts the XComs and files hold that it tells of."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def create_application() -> FastAPI:
    """Return the application that Airflow mounts; reads the configuration once."""
    application = FastAPI(
        title="Image tasks", docs_url=None, redoc_url=None, openapi_url=None, default_response_class=_Answer
    )
    roots = _gallery_roots()
    links = PictureLinks(conf.get("api", "secret_key"))
    orders = Orders()
    spending = AccountSpending()

    @application.get("/api/pictures", response_model=None)
    def newest(user: User, wanted: Wanted, dag_id: str | None = None, cursor: str | None = None) -> dict[str, Any]:
        """Return cards of every Dag that the user may read, newest first."""
        with records.reading() as session:
            known = records.dags_with_image_tasks(session, _oldest())
            readable = readable_dags({*known, dag_id} if dag_id else known, user)
            if dag_id and dag_id not in readable:
                raise HTTPException(403, "Forbidden")
            page = Gallery(session, roots, links, orders).newest({dag_id} if dag_id else readable, wanted, cursor)
        return {**page, "dags": sorted(readable), "has_roots": bool(roots)}

    @application.get("/api/totals", response_model=None)
    def totals(user: User, wanted: Wanted, dag_id: str | None = None) -> dict[str, Any]:
        """Return what the latest image tasks of the Dags that the user may read come to."""
        with records.reading() as session:
            known = {dag_id} if dag_id else records.dags_with_image_tasks(session, _oldest())
            readable = readable_dags(known, user)
            if dag_id and not readable:
                raise HTTPException(403, "Forbidden")
            scope = scope_of(readable, wanted)
            found = totals_of(session, scope)

        def may_read(dag_ids: Collection[str]) -> Collection[str]:
            return readable_dags({dag_id} & set(dag_ids) if dag_id else dag_ids, user)

        return {**found, "booked": spending.totals(scope, may_read)}

    @application.get(RUN + "/pictures", response_model=None)
    def of_run(_: MayReadDag, dag_id: str, run_id: str, wanted: Wanted, cursor: str | None = None) -> dict[str, Any]:
        """Return cards of a run."""
        with records.reading() as session:
            page = Gallery(session, roots, links, orders).of_run(_run(session, dag_id, run_id), wanted, cursor)
        return {**page, "has_roots": bool(roots)}

    @application.get(TASK + "/pictures", response_model=None)
    def of_task(
        _: MayReadDag,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: MapIndex,
        region: Region,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return cards of what a task instance submitted, waits for, read or stored."""
        with records.reading() as session:
            run = _run(session, dag_id, run_id)
            instance = instances.task_instance(session, dag_id, run_id, task_id, map_index, region)
            if instance is None:
                raise HTTPException(404, "There is no such task instance")
            page = Gallery(session, roots, links).of_task(run, task_id, map_index, instance, cursor)
        return {**page, "has_roots": bool(roots)}

    @application.get(TASK + "/batch", response_model=None)
    def of_batch(
        _: MayReadDag,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: MapIndex,
        region: Region,
        wanted: Wanted,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return cards of the rows of a batch that have come to their end."""
        with records.reading() as session:
            run = _run(session, dag_id, run_id)
            page = Gallery(session, roots, links).of_batch(run, task_id, map_index, wanted, cursor, region)
        if page is None:
            raise HTTPException(404, "This task instance has no batch")
        return page

    @application.get(TASK + "/request", response_model=None)
    def request_of(
        _: MayReadDag,
        __: MayReadTasks,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: MapIndex,
        region: Region,
        row: int | None = None,
    ) -> dict[str, Any]:
        """Return what a task instance, or one row of its batch, asked for."""
        with records.reading() as session:
            run = _run(session, dag_id, run_id)
            return Gallery(session, roots, links).request_of(run, task_id, map_index, row, region)

    def manifest_of(dag_id: str, run_id: str, task_id: str, map_index: int, region: str) -> Location | None:
        with records.reading() as session:
            gallery = Gallery(session, roots, links)
            return gallery.manifest_of(_run(session, dag_id, run_id), task_id, map_index, region)

    application.include_router(archive_routes(roots, links, manifest_of))
    application.include_router(picture_routes(roots, links, Thumbnails(usual_folder())))
    secret = _callback_secret()
    if secret:
        application.include_router(callback_route(secret))
    application.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    @application.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        # No name in Airflow holds it, and PostgreSQL takes it in no question.
        holds_nul = "\0" in unquote(f"{request.url.path}?{request.url.query}")
        response: Response = _Answer({"detail": "Not Found"}, 404) if holds_nul else await call_next(request)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        # A script of an older version of this package must not meet a newer one; an ETag makes asking cheap.
        response.headers.setdefault(
            "Cache-Control", "no-cache" if "/static/" in request.url.path else "private, no-store"
        )
        return response

    return application


def _oldest() -> datetime:
    return datetime.now(UTC) - timedelta(days=DAYS)


def _run(session: Any, dag_id: str, run_id: str) -> records.Run:
    run = records.run_of(session, dag_id, run_id)
    if run is None:
        raise HTTPException(404, "There is no such Dag run")
    return run


# A setting that cannot be used must not keep the api-server from starting.
def _gallery_roots() -> tuple[Location, ...]:
    try:
        return read_roots(conf.get("imagetasks", "gallery_roots", fallback=""))
    except ValueError as error:
        _log.error("The gallery cannot show any pictures: %s", without_signatures(str(error)))
        return ()


def _callback_secret() -> str | None:
    try:
        return callback_secret()
    except InvalidRequestError as error:
        _log.error("Callbacks are off: %s", error.message)
        return None
