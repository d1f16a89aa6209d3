"""The pages of the gallery: what was asked for, what became of it, and where its pictures are."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.batch_rows import read_rows
from airflow_provider_imagetasks.ui.cards import Results, batch_card, card, card_of, collect_results, row_card
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.roots import Location, locate
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError

PAGE = 60
DAYS = 30
_MOST_READ = 600
"""Image tasks that one request looks at, where a filter lets few of them through."""
_PREVIEW = 4
_FILE_NUMBERS = ("width", "height", "bytes", "index")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The state and the service of the cards to show; None shows all."""

    state: str | None = None
    service: str | None = None

    def admits(self, item: Mapping[str, Any]) -> bool:
        """Whether a card is to be shown."""
        return self.state in (None, item["state"]) and self.service in (None, item["service"])


class Gallery:
    """The pages of cards for one request.

    :param session: closed by the caller.
    :param roots: where pictures may be read.
    """

    def __init__(self, session: Session, roots: Sequence[Location], links: PictureLinks) -> None:
        self._session = session
        self._roots = roots
        self._links = links

    def newest(self, dag_ids: Collection[str], wanted: Filter, cursor: str | None) -> dict[str, Any]:
        """Return cards of all these Dags, newest first, of the last 30 days."""
        since = datetime.now(UTC) - timedelta(days=DAYS)
        if not dag_ids:
            return {"items": [], "next": None}
        items, position = self._page(
            lambda before: records.newest_submissions(
                self._session, dag_ids=dag_ids, since=since, before=before, most=PAGE + 1
            ),
            _newest_position(cursor),
            lambda xcom: (xcom.timestamp, *xcom.place),
            wanted,
        )
        return {"items": items, "next": _cursor(position[0].isoformat(), *position[1:]) if position else None}

    def of_run(self, run: records.Run, wanted: Filter, cursor: str | None) -> dict[str, Any]:
        """Return cards of a run, in order of task and map index."""
        items, position = self._page(
            lambda after: records.submissions_of_run(self._session, run.key, after=after, most=PAGE + 1),
            _run_position(cursor),
            lambda xcom: (xcom.task_id, xcom.map_index),
            wanted,
        )
        if position is None:
            items += self._without_submission(run, wanted)
        return {"items": items, "next": _cursor(*position) if position else None, "run_state": run.state}

    def of_task(
        self, run: records.Run, task_id: str, map_index: int, instance: records.Instance, cursor: str | None
    ) -> dict[str, Any]:
        """Return cards of what one task instance submitted, waits for, read or stored."""
        own = records.submissions_of_task(self._session, run.key, task_id, map_index)
        answer = {"run_state": run.state, "task_state": instance.state, "next": None}
        if own:
            return {**answer, "items": [item for _, item in self._cards(own)]}
        xcoms = records.results_of_runs(self._session, [run.key])
        results = collect_results(xcoms)
        mine = collect_results(each for each in xcoms if each.place == (run.key, task_id, map_index))
        ids = list(dict.fromkeys([*mine.ids_of(run.key), *instance.waits_for]))
        start = int(cursor) if cursor and cursor.isdecimal() and len(cursor) < 10 else 0
        page = ids[start : start + PAGE]
        submissions = self._submissions(run) if page else {}
        # Where a link leads to from the card of what nobody in this run submitted.
        itself = XCom(run.key, run.dag_id, run.run_id, task_id, map_index, "", None, instance.started_at)
        items = [
            self._card_of(each, submissions.get(each) or results.sources.get((run.key, each), itself), results, run)
            for each in page
        ]
        return {**answer, "items": items, "next": str(start + PAGE) if start + PAGE < len(ids) else None}

    def of_batch(
        self, run: records.Run, task_id: str, map_index: int, wanted: Filter, cursor: str | None
    ) -> dict[str, Any] | None:
        """Return cards of the rows of a batch that have come to their end; None where there is no batch."""
        own = records.submissions_of_task(self._session, run.key, task_id, map_index)
        batch = next((xcom for xcom in own if xcom.key == "image_batch"), None)
        if batch is None:
            return None
        xcoms = records.results_of_runs(self._session, [run.key])
        results = collect_results(each for each in xcoms if each.task_id == task_id)
        items: list[dict[str, Any]] = []
        reach, position = "ok", cursor
        try:
            for _ in range(_MOST_READ // PAGE):
                rows, position = self._rows(batch, results, position, PAGE)
                items += [item for item in rows if wanted.admits(item)]
                if position is None or len(items) >= PAGE:
                    break
        except OutOfReachError as error:
            reach, position = str(error), None
        return {"items": items, "next": position, "reach": reach}

    def _page(
        self,
        read: Callable[[Any], list[XCom]],
        position: tuple[Any, ...] | None,
        position_of: Callable[[XCom], tuple[Any, ...]],
        wanted: Filter,
    ) -> tuple[list[dict[str, Any]], tuple[Any, ...] | None]:
        """Return a page of cards, and where it ends; None where nothing comes after it.

        :param read: reads the submissions after a position, one more than a page.
        :param position: where the page before ended.
        """
        items: list[dict[str, Any]] = []
        looked_at, has_more = 0, True
        while has_more and len(items) < PAGE and looked_at < _MOST_READ:
            xcoms = read(position)
            has_more = len(xcoms) > PAGE
            for xcom, item in self._cards(xcoms[:PAGE]):
                position = position_of(xcom)
                if wanted.admits(item):
                    items.append(item)
                if len(items) == PAGE:
                    has_more = has_more or xcom is not xcoms[-1]
                    break
            looked_at += len(xcoms)
        return items, position if has_more else None

    def _cards(self, submissions: Sequence[XCom]) -> Iterable[tuple[XCom, dict[str, Any]]]:
        results = self._results(submissions)
        runs = records.runs(self._session, {xcom.run_key for xcom in submissions})
        states = records.states_of(self._session, [xcom for xcom in submissions if xcom.key == "image_batch"])
        for xcom in submissions:
            if xcom.key == "image_batch":
                yield xcom, batch_card(xcom, results, states.get(xcom.place), self._preview(xcom, results))
            else:
                run = runs.get(xcom.run_key)
                yield xcom, card(xcom, results, run.state if run else "failed", self._picture)

    def _results(self, submissions: Sequence[XCom]) -> Results:
        """Return what came back for these; where possible without reading all that their runs have to say."""
        keys = {xcom.run_key for xcom in submissions}
        # In a mapped group what belongs together has the same map index.
        indexes = {-1, *(xcom.map_index for xcom in submissions)}
        near = collect_results(records.results_of_runs(self._session, keys, indexes))
        if all(near.is_complete(xcom) for xcom in submissions):
            return near
        return collect_results(records.results_of_runs(self._session, keys))

    def _rows(
        self, batch: XCom, results: Results, cursor: str | None, most: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        submission = batch.value if isinstance(batch.value, Mapping) else {}
        summary = results.batches.get(batch.place, {}).get("summary")
        rows, end = read_rows(submission, summary, self._roots, cursor=cursor, most=most)
        return [row_card(batch, row, self._picture) for row in rows], end

    def _preview(self, batch: XCom, results: Results) -> list[dict[str, Any]]:
        try:
            rows, _ = self._rows(batch, results, None, 3 * _PREVIEW)
        except OutOfReachError:
            return []
        return [picture for row in rows for picture in row["pictures"][:1]][:_PREVIEW]

    def _without_submission(self, run: records.Run, wanted: Filter) -> list[dict[str, Any]]:
        """Return cards of what sensors and downloads of a run know and none of its tasks submitted."""
        results = collect_results(records.results_of_runs(self._session, [run.key]))
        ids = results.ids_of(run.key)
        submissions = self._submissions(run) if ids else {}
        others = [each for each in ids if each not in submissions][:_MOST_READ]
        items = [self._card_of(each, results.sources[run.key, each], results, run) for each in others]
        return [item for item in items if wanted.admits(item)]

    def _submissions(self, run: records.Run) -> dict[str, XCom]:
        """Return the submissions of a run, by image task id."""
        xcoms = records.submissions_of_run(self._session, run.key, after=None, most=records.MOST_RESULTS)
        ids = ((xcom.value.get("id"), xcom) for xcom in xcoms if isinstance(xcom.value, Mapping))
        return {image_task_id: xcom for image_task_id, xcom in ids if isinstance(image_task_id, str)}

    def _card_of(self, image_task_id: str, source: XCom, results: Results, run: records.Run) -> dict[str, Any]:
        item = card_of(image_task_id, source, results, run.state, self._picture)
        # Several of them may have been pushed by one task instance.
        return {**item, "key": f"{item['key']}/{image_task_id[:200]}"}

    def _picture(self, dag_id: str, file: Mapping[str, Any]) -> dict[str, Any]:
        uri, sha256 = str(file.get("uri") or ""), str(file.get("sha256") or "")
        allowed = locate(uri, self._roots) is not None
        link = f"dags/{quote(dag_id, safe='')}/pictures/{self._links.token(dag_id, uri, sha256)}" if allowed else None
        numbers = {name: file.get(name) if isinstance(file.get(name), int) else None for name in _FILE_NUMBERS}
        return {
            "uri": uri[:1000],
            "link": link,
            "reach": "ok" if allowed else "outside" if self._roots else "no_roots",
            "media_type": str(file.get("media_type"))[:40],
            **numbers,
        }


def _cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _parts(cursor: str | None) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode((cursor or "") + "=" * (-len(cursor or "") % 4)))
    except (ValueError, RecursionError):
        return None


def _newest_position(cursor: str | None) -> records.Position | None:
    match _parts(cursor):
        case [str() as moment, int() as run_key, str() as task_id, int() as map_index]:
            with suppress(ValueError):
                return datetime.fromisoformat(moment), run_key, task_id, map_index
    return None


def _run_position(cursor: str | None) -> tuple[str, int] | None:
    match _parts(cursor):
        case [str() as task_id, int() as map_index]:
            return task_id, map_index
    return None
