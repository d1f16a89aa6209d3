"""The pages of the gallery: what was asked for, what became of it, and where its pictures are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy.orm import Session

from airflow_provider_imagetasks.exceptions import without_signatures
from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.batch_pages import BatchPages, no_picture
from airflow_provider_imagetasks.ui.batch_rows import files_of, frozen_request
from airflow_provider_imagetasks.ui.cards import (
    Results,
    batch_card,
    card,
    card_of,
    collect_results,
    error_card,
)
from airflow_provider_imagetasks.ui.cursors import cursor as cursor_of
from airflow_provider_imagetasks.ui.cursors import newest_position, offset_of, run_position
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.orders import Orders
from airflow_provider_imagetasks.ui.paging import PAGE, page_as_stored, page_in_order
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.request_card import request_card
from airflow_provider_imagetasks.ui.roots import Location, locate, roots_of
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError

DAYS = 30
_MOST_WITHOUT_SUBMISSION = 600
MOST_SORTED = 5_000
"""Image tasks and batches of which the order is made that goes by what became of them."""


def scope_of(dag_ids: Collection[str], wanted: Filter) -> records.Scope:
    """Return what the page of all Dags is about: these Dags, in the time that is asked for, of the last 30 days."""
    oldest = datetime.now(UTC) - timedelta(days=DAYS)
    return records.Scope(
        dag_ids=dag_ids,
        run_id=wanted.run_id,
        since=max(oldest, _in_utc(wanted.since) or oldest),
        until=_in_utc(wanted.until),
        oldest_first=wanted.order == "oldest",
    )


def _place_in_all(xcom: XCom) -> records.Position:
    return xcom.timestamp, xcom.run_key, *_place_in_run(xcom)


def _place_in_run(xcom: XCom) -> records.RunPosition:
    return xcom.task_id, xcom.map_index, xcom.iteration, xcom.instance_id


def _in_utc(moment: datetime | None) -> datetime | None:
    with suppress(OverflowError, ValueError):
        return moment.astimezone(UTC) if moment is not None else None
    return None


class Gallery:
    """The pages of cards for one request.

    :param session: closed by the caller.
    :param roots: where pictures may be read.
    :param orders: those that were made lately; None for none.
    """

    def __init__(
        self, session: Session, roots: Sequence[Location], links: PictureLinks, orders: Orders | None = None
    ) -> None:
        self._session = session
        self._orders = orders or Orders()
        self._roots = roots
        self._links = links
        self._batches = BatchPages(roots, self._picture)
        self._whole_results: dict[frozenset[int], Results] = {}

    def newest(self, dag_ids: Collection[str], wanted: Filter, cursor: str | None) -> dict[str, Any]:
        """Return cards of all these Dags, newest first, of the last 30 days.

        ``looked_at`` is how many image tasks and batches this page looked at, ``total`` of how many: of the Dags, the
        run and the time that were asked for, whatever else is filtered.
        """
        if not dag_ids:
            return {"items": [], "next": None, "looked_at": 0, "total": 0}
        scope = scope_of(dag_ids, wanted)

        def read(after: records.Position | None, most: int) -> list[XCom]:
            return records.newest_submissions(self._session, scope, after=after, most=most)

        if wanted.goes_by_result:
            page = self._in_order(lambda: (read(None, MOST_SORTED), []), wanted, cursor, tuple(sorted(dag_ids)))
        else:
            page, end = self._as_stored(read, newest_position(cursor), _place_in_all, wanted)
            page["next"] = cursor_of(end[0].isoformat(), *end[1:]) if end else None
        if cursor is None:
            page["total"] = records.count_submissions(self._session, scope)
        return page

    def of_run(self, run: records.Run, wanted: Filter, cursor: str | None) -> dict[str, Any]:
        """Return cards of a run, by task, map index and iteration; ``looked_at`` and ``total`` as of ``newest``."""

        def read(after: records.RunPosition | None, most: int) -> list[XCom]:
            return records.submissions_of_run(self._session, run.key, after=after, most=most)

        if wanted.goes_by_result:

            def all_of_run() -> tuple[list[XCom], list[dict[str, Any]]]:
                first = read(None, MOST_SORTED)
                return first, self._without_submission(run, wanted, first)

            page = self._in_order(all_of_run, wanted, cursor, run.key)
        else:
            page, end = self._as_stored(read, run_position(cursor), _place_in_run, wanted)
            page["next"] = cursor_of(*end) if end else None
            if end is None:
                page["items"] += self._without_submission(run, wanted, [])
        if cursor is None:
            page["total"] = records.count_submissions_of_run(self._session, run.key)
        return {**page, "run_state": run.state}

    def of_task(
        self, run: records.Run, task_id: str, map_index: int, instance: instances.Instance, cursor: str | None
    ) -> dict[str, Any]:
        """Return cards of what one task instance submitted, waits for, read or stored."""
        region = instance.region
        own = records.submissions_of_task(self._session, run.key, task_id, map_index, region)
        answer = {"run_state": run.state, "task_state": instance.state, "next": None}
        if own:
            return {**answer, "items": [item for _, item, _ in self._cards(own)]}
        xcoms = records.results_of_runs(self._session, [run.key])
        results = collect_results(xcoms)
        place = (run.key, task_id, map_index, region)
        mine = collect_results(each for each in xcoms if each.place == place)
        ids = list(dict.fromkeys([*mine.ids_of(run.key), *instance.waits_for]))
        start = offset_of(cursor)
        page = ids[start : start + PAGE]
        submissions = self._submissions(run, []) if page else {}
        # Where a link leads to from the card of what nobody in this run submitted.
        itself = XCom(run.key, run.dag_id, run.run_id, task_id, map_index, "", None, instance.started_at, region=region)
        states = {place: instance.state}
        items = [
            self._card_of(
                each, submissions.get(each) or results.sources.get((run.key, each), itself), results, run, states
            )
            for each in page
        ]
        if not ids and place in mine.errors:
            items.append(error_card(mine.errors[place], states))
        return {**answer, "items": items, "next": str(start + PAGE) if start + PAGE < len(ids) else None}

    def of_batch(
        self, run: records.Run, task_id: str, map_index: int, wanted: Filter, cursor: str | None, region: str = ""
    ) -> dict[str, Any] | None:
        """Return cards of the rows of a batch that have come to their end; None where there is no batch.

        :param region: of an iteration of a loop, as an ``XCom`` has it; likewise below.
        """
        batch = self.batch_at(run, task_id, map_index, region)
        if batch is None:
            return None
        state = instances.states_of(self._session, [batch]).get(batch.place)
        return self._batches.page(batch, self._summary(batch), state, wanted, cursor)

    def manifest_of(self, run: records.Run, task_id: str, map_index: int, region: str = "") -> Location | None:
        """Return where the manifest of a batch that is over lies; None where there is none.

        :raises OutOfReachError: no gallery root allows to read it.
        """
        batch = self.batch_at(run, task_id, map_index, region)
        summary = self._summary(batch) if batch is not None else None
        if batch is None or summary is None:
            return None
        (manifest,) = files_of(batch, summary, roots_of(batch.dag_id, self._roots))
        return manifest

    def request_of(
        self, run: records.Run, task_id: str, map_index: int, row: int | None, region: str = ""
    ) -> dict[str, Any]:
        """Return what a task instance, or one row of its batch, asked for, as far as that is still known.

        What ``request_card`` returns.
        """
        asked: Mapping[str, Any] = {}
        cut: list[str] = []
        if row is None:
            kept = instances.rendered_fields(self._session, run.dag_id, run.run_id, task_id, map_index, region)
            asked, cut = instances.without_cuts(kept)
        elif (batch := self.batch_at(run, task_id, map_index, region)) is not None:
            with suppress(OutOfReachError):
                asked = frozen_request(batch, row, roots_of(run.dag_id, self._roots))

        def reference(uri: str) -> dict[str, Any]:
            # What lets somebody in of an address is nobody's business.
            is_shown = locate(uri, roots_of(run.dag_id, self._roots)) is not None
            return self._picture(run.dag_id, {"uri": uri if is_shown else without_signatures(uri.partition("?")[0])})

        return request_card(asked, reference, cut)

    def batch_at(self, run: records.Run, task_id: str, map_index: int, region: str = "") -> XCom | None:
        """Return what the task instance of a batch pushed when it began."""
        own = records.submissions_of_task(self._session, run.key, task_id, map_index, region)
        return next((xcom for xcom in own if xcom.key == "image_batch"), None)

    def _as_stored(
        self,
        read: Callable[[Any, int], list[XCom]],
        position: tuple[Any, ...] | None,
        position_of: Callable[[XCom], tuple[Any, ...]],
        wanted: Filter,
    ) -> tuple[dict[str, Any], tuple[Any, ...] | None]:
        is_wanted = partial(self._is_wanted, wanted)
        return page_as_stored(self._cards, is_wanted, read, position, position_of)

    def _in_order(
        self,
        read: Callable[[], tuple[Sequence[XCom], Sequence[dict[str, Any]]]],
        wanted: Filter,
        cursor: str | None,
        place: Hashable,
    ) -> dict[str, Any]:
        is_wanted, asked = partial(self._is_wanted, wanted), (place, wanted)
        return page_in_order(self._cards, is_wanted, read, wanted.rank, cursor, asked=asked, orders=self._orders)

    def _is_wanted(self, wanted: Filter, xcom: XCom, item: dict[str, Any], summary: Mapping[str, Any] | None) -> bool:
        if item["kind"] != "batch":
            return wanted.admits(item)
        if wanted.error and wanted.admits(item):
            return True
        if not wanted.may_admit_rows(item):
            return False
        if not wanted.looks_into_rows:
            return True
        item["matching"] = self._batches.count(xcom, summary, wanted)
        return bool(item["matching"] != 0)

    def _cards(
        self, submissions: Sequence[XCom], *, is_brief: bool = False
    ) -> Iterable[tuple[XCom, dict[str, Any], Mapping[str, Any] | None]]:
        """Yield what was asked for with its card, and of a batch with its summary.

        :param is_brief: whether what leads to pictures may be missing.
        """
        picture = no_picture if is_brief else self._picture
        results = self._results(submissions)
        runs = records.runs(self._session, {xcom.run_key for xcom in submissions})
        asked = [xcom for xcom in submissions if xcom.key in ("image_batch", "image_task_refused")]
        states = instances.states_of(self._session, [*asked, *(told for _, told in results.failures.values())])
        batches = [xcom for xcom in submissions if xcom.key == "image_batch"]
        deferred = instances.counts_at_deferral(self._session, batches) if batches else {}
        for xcom in submissions:
            if xcom.key == "image_batch":
                summary = results.summary_of(xcom)
                pictures = [] if is_brief else self._batches.preview(xcom, summary)
                item = batch_card(xcom, results, states.get(xcom.place), pictures, deferred.get(xcom.place))
                yield xcom, item, summary
            else:
                run = runs.get(xcom.run_key)
                yield xcom, card(xcom, results, run.state if run else "failed", picture, states), None

    def _results(self, submissions: Sequence[XCom]) -> Results:
        """Return what came back for these; where possible without reading all that their runs have to say."""
        keys = frozenset(xcom.run_key for xcom in submissions)
        if len(submissions) <= PAGE and keys not in self._whole_results:
            # In a mapped group what belongs together has the same map index.
            indexes = {-1, *(xcom.map_index for xcom in submissions)}
            near = collect_results(records.results_of_runs(self._session, keys, indexes))
            if all(near.is_complete(xcom) for xcom in submissions):
                return near
        return self._results_of_runs(keys)

    def _results_of_runs(self, keys: frozenset[int]) -> Results:
        """Return all that came back in these runs, which one request reads once."""
        if keys not in self._whole_results:
            self._whole_results[keys] = collect_results(records.results_of_runs(self._session, keys))
        return self._whole_results[keys]

    def _summary(self, batch: XCom) -> Mapping[str, Any] | None:
        near = records.results_of_runs(self._session, [batch.run_key], [batch.map_index])
        return collect_results(xcom for xcom in near if xcom.place == batch.place).summary_of(batch)

    def _without_submission(self, run: records.Run, wanted: Filter, first: Sequence[XCom]) -> list[dict[str, Any]]:
        """Return cards of what sensors and downloads of a run know and none of its tasks submitted.

        :param first: the first submissions of the run, as far as they were read.
        """
        results = self._results_of_runs(frozenset([run.key]))
        ids = results.ids_of(run.key)
        nameless = results.nameless_errors()
        submissions = self._submissions(run, first) if ids or nameless else {}
        others = [each for each in ids if each not in submissions][:_MOST_WITHOUT_SUBMISSION]
        told = [xcom for _, xcom in results.failures.values()]
        states = instances.states_of(self._session, [*told, *nameless]) if others or nameless else {}
        items = [self._card_of(each, results.sources[run.key, each], results, run, states) for each in others]
        asked_for = records.places_of_submissions(self._session, run.key) if nameless else set()
        items += [error_card(each, states) for each in nameless if each.place not in asked_for]
        return [item for item in items if wanted.admits(item)]

    def _submissions(self, run: records.Run, first: Sequence[XCom]) -> dict[str, XCom]:
        """Return the submissions of a run, by image task id; the first of them may have been read already."""
        after = _place_in_run(first[-1]) if first else None
        most = records.MOST_RESULTS - len(first)
        others = records.submissions_of_run(self._session, run.key, after=after, most=most)
        ids = ((xcom.value.get("id"), xcom) for xcom in [*first, *others] if isinstance(xcom.value, Mapping))
        return {image_task_id: xcom for image_task_id, xcom in ids if isinstance(image_task_id, str)}

    def _card_of(
        self, image_task_id: str, source: XCom, results: Results, run: records.Run, states: Mapping[Any, str | None]
    ) -> dict[str, Any]:
        item = card_of(image_task_id, source, results, run.state, self._picture, states)
        # On the tab of the task that submitted it, where a link to it leads, it has the same key.
        if source.key == "image_task":
            return item
        # Several of them may have been pushed by one task instance, and ids that are long begin alike.
        name = sha256(image_task_id.encode("utf-8", "replace")).hexdigest()[:20]
        return {**item, "key": f"{item['key']}/{name}"}

    def _picture(self, dag_id: str, file: Mapping[str, Any]) -> dict[str, Any]:
        return self._links.picture(dag_id, file, roots_of(dag_id, self._roots))
