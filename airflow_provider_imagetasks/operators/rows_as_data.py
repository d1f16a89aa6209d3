"""Rows of a batch as they stand in a Dag: arguments are templates, rows are data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


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


def _texts_in(value: Any) -> set[int]:
    """Return the identities of all texts in rows, by which Airflow passes over what was rendered."""
    if isinstance(value, str):
        return {id(value)}
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {identity for entry in entries for identity in _texts_in(entry)}
