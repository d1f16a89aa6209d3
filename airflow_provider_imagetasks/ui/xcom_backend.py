"""The values that an XCom backend keeps elsewhere: Airflow's database then holds only where each one is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

from airflow_provider_imagetasks.exceptions import without_signatures

MOST_REFERENCES = 2_000
"""Values that one request has the backend read; the others stay unknown to it."""
_AT_ONCE = 8
_MOST_KEPT = 4_000
_LONGEST_KEPT = 64 * 1024
_log = logging.getLogger(__name__)


class BackendValues:
    """What the backend answered for the latest references, which the requests to one api-server process share."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def resolved(self, references: Sequence[tuple[str, str, Hashable]]) -> list[Any]:
        """Return the values that references stand for, in their order; None for one that cannot be read.

        :param references: each the id of the Dag that pushed it, what the database holds, and what changes with it.
        """
        wanted = list(dict.fromkeys(references))[:MOST_REFERENCES]
        with self._lock:
            found = {each: self._kept[each] for each in wanted if each in self._kept}
        missing = [each for each in wanted if each not in found]
        if missing:
            with ThreadPoolExecutor(min(_AT_ONCE, len(missing))) as threads:
                read = dict(zip(missing, threads.map(lambda each: _read(each[0], each[1]), missing), strict=True))
            found |= read
            self._keep(read)
        return [found.get(each) for each in references]

    def _keep(self, read: dict[Any, Any]) -> None:
        with self._lock:
            self._kept |= {each: value for each, value in read.items() if value is not None and _is_small(value)}
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]


@cache
def xcom_backend() -> Any:
    """Return the class that ``[core] xcom_backend`` names; None for Airflow's own, which keeps all in the database."""
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom

    return None if XCom is BaseXCom else XCom


def _read(dag_id: str, reference: str) -> Any:
    if not _belongs_to(dag_id, reference):
        return None
    try:
        value = xcom_backend().deserialize_value(SimpleNamespace(value=reference))
    except Exception as error:  # noqa: BLE001 - each backend and each storage has errors of its own
        _log.warning(
            "An XCom of the Dag %s cannot be read from the XCom backend: %s", dag_id, without_signatures(str(error))
        )
        return None
    return None if value == reference else value


def _belongs_to(dag_id: str, reference: str) -> bool:
    """Whether a reference does not lead to what another Dag pushed, as far as paths tell."""
    folder = _folder_of_backend()
    if folder is None or not reference.startswith(f"{folder}/"):
        return True
    parts = [unquote(part) for part in reference[len(folder) :].split("/") if part]
    return ".." not in parts and any(part in (dag_id, f"dag_id={dag_id}") for part in parts[:-1])


@cache
def _folder_of_backend() -> str | None:
    from airflow.providers.common.compat.sdk import conf

    folder = conf.get("common.io", "xcom_objectstorage_path", fallback=None)
    return folder.rstrip("/") if folder else None


def _is_small(value: Any) -> bool:
    # Only roughly: what is kept for long must not be somebody's table.
    return len(repr(value)) <= _LONGEST_KEPT
