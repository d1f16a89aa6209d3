"""What operators accept as "an image task": an id, a dict that this package pushed, or any sequence of them. Pure.

It is data that may come from any upstream, so it can only choose among the connections that the Dag itself names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import DEFAULT_CONN_ID
from airflow_provider_imagetasks.services.fields import is_too_long, text
from airflow_provider_imagetasks.tasks import require_sendable

_LONGEST_NAME = 250
_READ = frozenset({"id", "service", "conn_id", "submitted_at", "created_at"})
"""What is read of a dict that this package pushed."""
_QUERY = re.compile(r"""(://[^\s'"?#]*)[?#][^\s'"]*""")


class ReferencesArgument:
    """The ``image_task_id`` of an operator: keeps no more of its value than what is read.

    Airflow keeps template fields as they were rendered and shows them, and a sensor's records hold signed addresses.
    """

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, _owner: type | None = None) -> Any:
        if instance is None:
            return self
        try:
            return instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = _only_what_is_read(value)


def _only_what_is_read(value: Any) -> Any:
    """Return a reference without URLs; one that is lazy, or rendered later, as it is."""
    if isinstance(value, str):
        return _QUERY.sub(r"\1?***", value)
    if isinstance(value, Mapping):
        # A dict that nobody takes is refused by the names in it.
        kept = _READ if "id" in value and "service" in value else value
        return {
            _only_what_is_read(name): _only_what_is_read(value[name]) if name in _READ else None
            for name in value
            if name in kept
        }
    if isinstance(value, list | tuple):
        return [_only_what_is_read(entry) for entry in value]
    return value


@dataclass(frozen=True, kw_only=True)
class ImageTaskReference:
    """Points to one image task.

    :param id: the service's id.
    :param conn_id: the connection that a dict of ours names; likewise ``service``.
    :param submitted_at: Unix seconds of the submission, where a dict of ours says so.
    """

    id: str
    conn_id: str | None = None
    service: str | None = None
    submitted_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImageTaskReferences:
    """What an ``image_task_id`` argument held.

    :param items: in the given order; none where only a trace id is known.
    :param is_sequence: whether the result is to be a list.
    """

    items: tuple[ImageTaskReference, ...]
    is_sequence: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in the given order."""
        return tuple(item.id for item in self.items)

    def warn_of_repeated(self, log: Any) -> None:
        """Warn of an image task named twice: two submissions that got the same id may both have been paid for."""
        repeated = [image_task_id for image_task_id, count in Counter(self.ids).items() if count > 1]
        if repeated:
            log.warning(
                "image_task_id names image task %s more than once%s. If different submissions got this answer, as "
                "a cache on the way may cause, a picture may be paid for that no task waits for: look at "
                "the service.",
                repeated[0][:80],
                f", and {len(repeated) - 1} others" if len(repeated) > 1 else "",
            )

    def conn_id(self, explicit: str | None, of_dag: Callable[[], Collection[str]]) -> str:
        """Return the connection to use: the explicit one, else the one that the dicts name, else the default.

        :param of_dag: returns the connections that tasks of the Dag name; the dicts may choose among them.
        :raises InvalidRequestError: the dicts name several, or one that the Dag does not.
        """
        if explicit:
            return explicit
        named = {item.conn_id for item in self.items if item.conn_id}
        if len(named) > 1:
            raise InvalidRequestError(
                f"image_task_id holds image tasks of several connections ({', '.join(sorted(named))}); use one Airflow "
                "task per connection"
            )
        name = named.pop() if named else DEFAULT_CONN_ID
        if name != DEFAULT_CONN_ID and name not in of_dag():
            raise InvalidRequestError(
                f"image_task_id holds a dict that names the connection {name!r}, but no task of this Dag does. Data "
                f"must not decide whose key is used: if this task should use it, set conn_id={name!r} here"
            )
        return name

    def require_service(self, service: str, conn_id: str) -> None:
        """Refuse image tasks that a dict says were submitted at another service.

        :raises InvalidRequestError: names both services.
        """
        for item in self.items:
            if item.service and item.service != service:
                raise InvalidRequestError(
                    f"The image task was submitted at {item.service}, but connection {conn_id!r} is for {service}; set "
                    "conn_id to the connection that was used for it",
                    image_task_id=item.id,
                )


def known_ids(value: Any) -> tuple[str, ...]:
    """Return the ids that an ``image_task_id`` argument holds; none where it cannot be read, or there is none."""
    try:
        return read_references(value).ids if value is not None else ()
    except InvalidRequestError:
        return ()


def read_references(value: Any) -> ImageTaskReferences:
    """Check what an ``image_task_id`` argument holds after rendering.

    :raises InvalidRequestError: it is empty, or not something that this package pushed.
    """
    if value is None or isinstance(value, str | int | float | Mapping):
        return ImageTaskReferences(items=(_reference(value),), is_sequence=False)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        items = tuple(_reference(entry) for entry in value)
        if not items:
            raise InvalidRequestError("image_task_id is an empty sequence; there is no image task to work on")
        return ImageTaskReferences(items=items, is_sequence=True)
    raise InvalidRequestError(
        f"image_task_id is {_shown(value)}; give an id, the XCom of a submit task or sensor, or a list of them"
    )


def rendered_text(name: str, value: Any) -> str | None:
    """Return an argument that is to be text, also where native rendering made a whole number of it.

    :param name: what the message calls it; its value may be a secret, and is not shown.
    :raises InvalidRequestError: it is something else, which does not say what the text was.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidRequestError(
        f"{name} is of the type {type(value).__name__}, but must be text. With render_template_as_native_obj=True, a "
        "Dag turns texts that look like numbers, lists and dicts into those: add other text to it, or use the "
        "output of the upstream task instead of a template"
    )


def _reference(value: Any) -> ImageTaskReference:
    if value is None or isinstance(value, str):
        return ImageTaskReference(id=_checked_id(str(value)))
    if isinstance(value, int | float):
        # Native rendering makes a number of digits; that of "12e4" cannot be turned back.
        return ImageTaskReference(id=_checked_id(rendered_text("image_task_id", value) or ""))
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"image_task_id holds {_shown(value)}, where an id or a dict with one is expected")
    if not isinstance(value.get("id"), str) or "service" not in value:
        raise InvalidRequestError(
            f"image_task_id is a dict that this package did not push (its keys: {', '.join(map(str, value))[:120]}); "
            "give the output of a submit task or sensor"
        )
    return ImageTaskReference(
        id=_checked_id(value["id"]),
        conn_id=_name(value, "conn_id"),
        service=_name(value, "service"),
        submitted_at=_unix_seconds(value.get("submitted_at") or value.get("created_at")),
    )


def _name(value: Mapping[str, Any], name: str) -> str | None:
    """Return a name that a dict of ours holds; refuse anything else, which would leave open whose key was meant."""
    told = value.get(name)
    if told is not None and (not isinstance(told, str) or not told.strip()):
        raise InvalidRequestError(
            f"image_task_id holds a dict whose {name} is {_shown(told)} instead of a name: this package did "
            "not push it; give the output of a submit task or sensor"
        )
    return text(told, most=_LONGEST_NAME)


def _checked_id(value: str) -> str:
    stripped = value.strip()
    require_sendable("image_task_id", stripped)
    if not stripped or stripped in ("None", "null"):
        raise InvalidRequestError(
            f"image_task_id is {value!r}: the task that should have submitted pushed no id. Was it skipped, or is "
            "do_xcom_push off?"
        )
    if stripped[0] in "[{" or any(character.isspace() for character in stripped) or is_too_long(stripped):
        raise InvalidRequestError(
            f"image_task_id is the text {_shown(stripped)}, which is not an id; pass `submit.output` instead of a "
            "template, or set render_template_as_native_obj=True on the Dag"
        )
    return stripped


def _unix_seconds(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def conn_ids_of_dag(task: Any, context: Any) -> frozenset[str]:
    """Return every ``conn_id`` of the tasks of a task's Dag, rendered as for the run of ``context``.

    One that cannot be rendered here, or that a mapped task takes from an upstream, is not among them.
    """
    if not task.has_dag():
        return frozenset()
    found: set[str] = set()
    for given in {value for other in task.dag.tasks for value in _named_by(other)}:
        with suppress(Exception):
            found.add(str(task.render_template(given, context)))
    return frozenset(found)


def _named_by(task: Any) -> Iterator[str]:
    values = [getattr(task, "conn_id", None), getattr(task, "partial_kwargs", {}).get("conn_id")]
    expanded = getattr(getattr(task, "expand_input", None), "value", None)
    listed = expanded.get("conn_id") if isinstance(expanded, dict) else None
    values += listed if isinstance(listed, list | tuple) else []
    yield from (value for value in values if isinstance(value, str))
