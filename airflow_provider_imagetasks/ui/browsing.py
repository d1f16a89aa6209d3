"""Puts pages of the gallery together: what was asked for, what became of it, and where its pictures are."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.batch_rows import read_rows
from airflow_provider_imagetasks.ui.gallery import Entry, Findings, batch_card, card, card_of, findings, row_card
from airflow_provider_imagetasks.ui.picture_links import PictureLinks
from airflow_provider_imagetasks.ui.roots import Location, locate
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError

PAGE = 60
DAYS = 30
_MOST_READ = 600
"""Image tasks that one request looks at, where a filter lets few of them through."""
_PREVIEW = 4


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What of all that there is should be shown; None shows all."""

    state: str | None = None
    service: str | None = None

    def admits(self, item: Mapping[str, Any]) -> bool:
        """Whether a card is to be shown."""
        return self.state in (None, item["state"]) and self.service in (None, item["service"])


class Gallery:
    """Reads pages of cards for one request.

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
        before, read = _read_newest_cursor(cursor), 0
        items: list[dict[str, Any]] = []
        while dag_ids:
            entries = records.newest_announcements(
                self._session, dag_ids=dag_ids, since=since, before=before, most=PAGE + 1
            )
            has_more = len(entries) > PAGE
            for entry, item in self._cards(entries[:PAGE]):
                before = (entry.timestamp, entry.run_key, entry.task_id, entry.map_index)
                if wanted.admits(item):
                    items.append(item)
                if len(items) == PAGE:
                    has_more = has_more or entry is not entries[-1]
                    break
            read += len(entries)
            if not has_more:
                before = None
            if before is None or len(items) >= PAGE or read >= _MOST_READ:
                break
        return {"items": items, "next": _cursor([before[0].isoformat(), *before[1:]]) if before and dag_ids else None}

    def of_run(self, run: records.Run, wanted: Filter, cursor: str | None) -> dict[str, Any]:
        """Return cards of a run, in order of task and map index."""
        after, read = _read_run_cursor(cursor), 0
        items: list[dict[str, Any]] = []
        has_more = True
        while has_more and len(items) < PAGE and read < _MOST_READ:
            entries = records.announcements_of_run(self._session, run.key, after=after, most=PAGE + 1)
            has_more = len(entries) > PAGE
            for entry, item in self._cards(entries[:PAGE]):
                after = (entry.task_id, entry.map_index)
                if wanted.admits(item):
                    items.append(item)
                if len(items) == PAGE:
                    has_more = has_more or entry is not entries[-1]
                    break
            read += len(entries)
        if not has_more:
            items += self._unannounced(run, wanted)
        return {"items": items, "next": _cursor(list(after)) if has_more and after else None, "run_state": run.state}

    def of_task(
        self, run: records.Run, task_id: str, map_index: int, state: records.Standing, cursor: str | None
    ) -> dict[str, Any]:
        """Return cards of what one task instance submitted, waits for, read or stored."""
        own = records.announcements_by_task(self._session, run.key, task_id, map_index)
        answer = {"run_state": run.state, "task_state": state.state, "next": None}
        if own:
            return {**answer, "items": [item for _, item in self._cards(own)]}
        outcomes = records.outcomes(self._session, [run.key])
        mine = [each for each in outcomes if (each.task_id, each.map_index) == (task_id, map_index)]
        ids = list(dict.fromkeys([*findings(mine).ids_of(run.key), *state.waits_for]))
        start = int(cursor) if cursor and cursor.isdigit() else 0
        page, found = ids[start : start + PAGE], findings(outcomes)
        told = self._told(run, set(page)) if page else {}
        items = []
        for image_task_id in page:
            place = told.get(image_task_id) or found.origins.get((run.key, image_task_id)) or _Place(run, state)
            items.append(self._card_of(image_task_id, place, found, run))
        more = start + PAGE < len(ids)
        return {**answer, "items": items, "next": str(start + PAGE) if more else None}

    def of_batch(
        self, run: records.Run, task_id: str, map_index: int, wanted: Filter, cursor: str | None
    ) -> dict[str, Any] | None:
        """Return cards of the rows of a batch that have come to their end; None where there is no batch."""
        entries = records.announcements_by_task(self._session, run.key, task_id, map_index)
        batch = next((entry for entry in entries if entry.key == "image_batch"), None)
        if batch is None:
            return None
        outcomes = [each for each in records.outcomes(self._session, [run.key]) if each.task_id == task_id]
        found = findings(outcomes)
        items: list[dict[str, Any]] = []
        reach, position = "ok", cursor
        try:
            for _ in range(_MOST_READ // PAGE):
                page = self._rows(batch, found, position, PAGE)
                if page is None:
                    reach, position = "outside", None
                    break
                rows, position = page
                items += [item for item in rows if wanted.admits(item)]
                if position is None or len(items) >= PAGE:
                    break
        except OutOfReachError as error:
            reach, position = error.reason, None
        return {"items": items, "next": position, "reach": reach}

    def _cards(self, entries: Sequence[records.XCom]) -> Iterable[tuple[records.XCom, dict[str, Any]]]:
        keys = {entry.run_key for entry in entries}
        found = self._findings(entries)
        runs = records.runs(self._session, keys)
        batches = [entry for entry in entries if entry.key == "image_batch"]
        states = records.states_of(self._session, batches)
        for entry in entries:
            if entry.key == "image_batch":
                place = (entry.run_key, entry.task_id, entry.map_index)
                yield entry, batch_card(entry, found, states.get(place), self._preview(entry, found))
            else:
                run = runs.get(entry.run_key)
                yield entry, card(entry, found, run.state if run else "failed", self._picture)

    def _findings(self, entries: Sequence[records.XCom]) -> Findings:
        """Return what became of these; where possible without reading all that their runs have to say."""
        keys = {entry.run_key for entry in entries}
        if not keys:
            return Findings()
        # In a mapped group what belongs together has the same map index.
        near = findings(records.outcomes(self._session, keys, {-1, *(entry.map_index for entry in entries)}))
        if all(near.is_complete(entry) for entry in entries):
            return near
        return findings(records.outcomes(self._session, keys))

    def _rows(
        self, batch: records.XCom, found: Findings, cursor: str | None, most: int
    ) -> tuple[list[dict[str, Any]], str | None] | None:
        told = batch.value if isinstance(batch.value, Mapping) else {}
        known = found.batches.get((batch.run_key, batch.task_id, batch.map_index), {})
        page = read_rows(told, known.get("summary"), self._roots, cursor=cursor, most=most)
        if page is None:
            return None
        return [row_card(batch, row, self._picture) for row in page.rows], page.next

    def _preview(self, batch: records.XCom, found: Findings) -> list[dict[str, Any]]:
        try:
            page = self._rows(batch, found, None, 3 * _PREVIEW)
        except OutOfReachError:
            return []
        rows = page[0] if page else []
        return [picture for row in rows for picture in row["pictures"][:1]][:_PREVIEW]

    def _unannounced(self, run: records.Run, wanted: Filter) -> list[dict[str, Any]]:
        """Return cards of what sensors and downloads of a run know and none of its tasks submitted."""
        found = findings(records.outcomes(self._session, [run.key]))
        ids = found.ids_of(run.key)
        told = self._told(run, set(ids)) if ids else {}
        items = [
            self._card_of(image_task_id, found.origins[run.key, image_task_id], found, run)
            for image_task_id in [each for each in ids if each not in told][:_MOST_READ]
        ]
        return [item for item in items if wanted.admits(item)]

    def _told(self, run: records.Run, ids: set[str]) -> dict[str, records.XCom]:
        """Return where image tasks of a run were submitted."""
        entries = records.announcements_of_run(self._session, run.key, after=None, most=records.MOST_OUTCOMES)
        named = {entry.value.get("id"): entry for entry in entries if isinstance(entry.value, Mapping)}
        return {each: named[each] for each in ids if each in named}

    def _card_of(self, image_task_id: str, place: Entry, found: Findings, run: records.Run) -> dict[str, Any]:
        told = place.value if place.key == "image_task" and isinstance(place.value, Mapping) else {}
        item = card_of(image_task_id, place, told, found, run.state, self._picture)
        # Several of them may have been pushed by one task instance.
        return {**item, "key": f"{item['key']}/{image_task_id[:200]}"}

    def _picture(self, dag_id: str, file: Mapping[str, Any]) -> dict[str, Any]:
        uri, sha256 = str(file.get("uri") or ""), str(file.get("sha256") or "")
        allowed = locate(uri, self._roots) is not None
        reach = "ok" if allowed else "outside" if self._roots else "no_roots"
        link = f"dags/{quote(dag_id, safe='')}/pictures/{self._links.token(dag_id, uri, sha256)}" if allowed else None
        numbers = {name: file.get(name) if isinstance(file.get(name), int) else None for name in _FILE_NUMBERS}
        return {
            "uri": uri[:1000],
            "link": link,
            "reach": reach,
            "media_type": str(file.get("media_type"))[:40],
            **numbers,
        }


_FILE_NUMBERS = ("width", "height", "bytes", "index")


class _Place:
    """Stands for the task instance that waits for what nobody in this run submitted."""

    def __init__(self, run: records.Run, state: records.Standing) -> None:
        self.run_key = run.key
        self.dag_id, self.run_id = run.dag_id, run.run_id
        self.task_id, self.map_index = state.task_id, state.map_index
        self.key, self.value = "", None
        self.timestamp = state.started_at


def _cursor(parts: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _parts(cursor: str | None) -> list[Any]:
    if not cursor:
        return []
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        return []
    return parts if isinstance(parts, list) else []


def _read_newest_cursor(cursor: str | None) -> records.Position | None:
    match _parts(cursor):
        case [str() as moment, int() as run_key, str() as task_id, int() as map_index]:
            try:
                return datetime.fromisoformat(moment), run_key, task_id, map_index
            except ValueError:
                return None
    return None


def _read_run_cursor(cursor: str | None) -> tuple[str, int] | None:
    match _parts(cursor):
        case [str() as task_id, int() as map_index]:
            return task_id, map_index
    return None
