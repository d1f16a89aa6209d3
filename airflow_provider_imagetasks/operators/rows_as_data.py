"""Rows of a batch as they stand in a Dag: arguments are templates, rows are data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MOST_LITERAL_ROWS = 1000


class RowsAsData(BaseOperator):
    """Base of an operator whose ``prompts`` and ``requests`` hold rows; a single text in them is a template."""

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render the arguments, but no row: rows are data, and somebody else's text must not run as a template."""
        for name in template_fields:
            rows = getattr(parent, name, None) if name in ("prompts", "requests") else None
            seen = seen_oids | _texts_in(rows) if isinstance(rows, list | tuple) else seen_oids
            super()._do_render_template_fields(parent, (name,), context, jinja_env, seen)
            number = getattr(parent, name, None)
            if isinstance(number, float) and not math.isfinite(number):
                # Airflow cannot store it, and would say so in place of what is wrong with it.
                setattr(parent, name, str(number))


def check_rows_given(prompts: Any, requests: Any, requests_path: Any) -> None:
    """Check that a Dag gives rows in one way, and warn of thousands of them in the Dag itself.

    :raises ValueError: it gives none, or several.
    """
    if sum(given is not None for given in (prompts, requests, requests_path)) != 1:
        raise ValueError("give one of prompts, requests and requests_path")
    for name, rows in (("prompts", prompts), ("requests", requests)):
        if isinstance(rows, list | tuple) and len(rows) > MOST_LITERAL_ROWS:
            warnings.warn(
                f"{name} holds {len(rows):,} rows, which become part of the serialised Dag and are parsed again "
                "and again; put them into a JSONL file and give requests_path, or let an upstream task return them",
                UserWarning,
                stacklevel=3,
            )


def _texts_in(value: Any) -> set[int]:
    """Return the identities of all texts in rows, by which Airflow passes over what was rendered."""
    if isinstance(value, str):
        return {id(value)}
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {identity for entry in entries for identity in _texts_in(entry)}
