"""What the latest image tasks come to: pictures, failures and cost by day, Dag, model and service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.cards import Results, batch_card, card, collect_results

MOST_READ = 5_000
"""Image tasks and batches that are added up; older ones are left out."""
_MOST_GROUPS = 31
GROUPS = ("day", "dag_id", "model", "service")


def totals_of(session: Session, scope: records.Scope) -> dict[str, Any]:
    """Return the sums of what a scope holds: ``{all, day, dag_id, model, service, looked_at, is_complete}``.

    Each group is a list of ``{name, pictures, failed, spent}``, days in their order (in UTC) and the rest by size.
    ``spent`` is what the batches that are over cost, by the prices that they know and by currency (``""`` where prices
    name none); None where none knows any.
    """
    xcoms = records.newest_submissions(session, scope, after=None, most=MOST_READ + 1)
    is_complete, xcoms = len(xcoms) <= MOST_READ, xcoms[:MOST_READ]
    told = records.results_of_runs(session, {xcom.run_key for xcom in xcoms})
    results = collect_results(told)
    parts = list(_parts(xcoms, results))
    groups = {name: _added_up(parts, name) for name in GROUPS}
    (everything,) = _added_up(parts, None) or [_nothing("")]
    read = {"looked_at": len(xcoms), "is_complete": is_complete and len(told) < records.MOST_RESULTS}
    return {"all": everything, **groups, **read}


def _parts(xcoms: Iterable[records.XCom], results: Results) -> Iterator[dict[str, Any]]:
    for xcom in xcoms:
        place = {"day": f"{xcom.timestamp:%Y-%m-%d}", "dag_id": xcom.dag_id}
        if xcom.key == "image_batch":
            item = batch_card(xcom, results, None, [])
            # A row with several pictures counts once: how many it has stands only in the manifest.
            made = {"pictures": item["counts"]["succeeded"], "failed": item["counts"]["failed"]}
            spent, currency = item["cost"], item["currency"] or ""
        else:
            item = card(xcom, results, "running", lambda *_: {})
            made = {"pictures": len(item["pictures"]), "failed": int(item["state"] == "failed")}
            spent, currency = None, ""
        named = {"model": item["model"] or "", "service": item["service"] or ""}
        yield {**place, **named, **made, "spent": spent, "currency": currency}


def _added_up(parts: Iterable[Mapping[str, Any]], name: str | None) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for part in parts:
        group = groups.setdefault(part[name] if name else "", _nothing(part[name] if name else ""))
        group["pictures"] += part["pictures"]
        group["failed"] += part["failed"]
        if part["spent"] is not None:
            spent = group["spent"] = group["spent"] or {}
            spent[part["currency"]] = spent.get(part["currency"], 0.0) + part["spent"]
    found = sorted(groups.values(), key=lambda group: group["pictures"] + group["failed"], reverse=True)
    return sorted(found, key=lambda group: group["name"])[-_MOST_GROUPS:] if name == "day" else found[:_MOST_GROUPS]


def _nothing(name: str) -> dict[str, Any]:
    return {"name": name, "pictures": 0, "failed": 0, "spent": None}
