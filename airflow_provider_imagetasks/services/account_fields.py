"""Extra fields of a connection, read and checked one by one."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.fields import number
from airflow_provider_imagetasks.services.money import Money, PriceList, read_budget, read_price_list
from airflow_provider_imagetasks.tasks import is_web_address, require_sendable

_LIKE_A_KEY = re.compile(
    r"(?:sk[-_]|pk[-_]|r8_|bearer\s|eyJ).*|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:.*"
    # Versions of models are 64 hexadecimal digits.
    r"|(?=.*[0-9])(?=.*[A-Za-z])(?![0-9a-f]{64}\Z)[A-Za-z0-9]{24,}",
    re.IGNORECASE | re.DOTALL,
)
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")


def is_host_name(value: str) -> bool:
    """Whether a text is a host name, in lower case and in ASCII, that can be looked up."""
    return bool(_HOST_NAME.fullmatch(value))


@dataclass(frozen=True, kw_only=True)
class ConnectionField:
    """A field that a service adds to the connection, under Extra. Nobody has to fill it in.

    :param label: the form's name for it.
    :param description: what it is for; the form has the service's title before it.
    :param kind: the JSON type of its value.
    :param is_secret: whether the form hides what is typed.
    """

    label: str
    description: str
    kind: Literal["string", "number", "integer", "boolean"] = "string"
    is_secret: bool = False


class ConnectionFields:
    """Reads extra fields, which the UI's form may deliver as text, number, null or empty text.

    Every reader returns None, or nothing, for a field that is absent or empty, and raises ``InvalidRequestError`` for
    a value that it cannot be.

    :param conn_id: the connection's id, for messages.
    """

    def __init__(self, conn_id: str, extra: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._extra = extra

    def name(self, key: str) -> str:
        """Return what a message calls the field."""
        return f"Extra field {key!r} of connection {self._conn_id!r}"

    def _value(self, key: str) -> Any:
        value = self._extra.get(key)
        return None if value is None or (isinstance(value, str) and not value.strip()) else value

    def _wrong(self, key: str, wanted: str, *, is_shown: bool = False) -> InvalidRequestError:
        """Return the error of a wrong value, which is only shown where nobody would put a secret."""
        value = self._extra[key]
        is_number = not isinstance(value, str) or number(value) is not None
        shown = repr(value) if is_shown and isinstance(value, str | int | float) and is_number else type(value).__name__
        return InvalidRequestError(f"{self.name(key)} is {shown[:80]}; it must be {wanted}")

    def text(self, key: str) -> str | None:
        """Return a text without blanks around it."""
        value = self._value(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong(key, "text")
        require_sendable(self.name(key), value)
        return value.strip() if value is not None else None

    def model(self, key: str, *secrets: str | None) -> str | None:
        """Return the name of a model, which is shown wherever models are.

        :param secrets: of the connection; a model that is one of them, or has the form of a key, is refused.
        """
        value = self.text(key)
        if value is not None and (value in secrets or _LIKE_A_KEY.fullmatch(value)):
            raise InvalidRequestError(
                f"{self.name(key)} looks like a key, so it is not shown; it must be the name of a model. A key "
                "belongs in the field Password. If it is a key, it was stored in clear text: renew it at the service"
            )
        return value

    def web_address(self, key: str) -> str | None:
        """Return a URL."""
        value = self.text(key)
        if value is not None and not is_web_address(value):
            raise self._wrong(key, "a URL that starts with https:// and has a host")
        return value

    def further(self, wanted: Mapping[str, ConnectionField]) -> tuple[tuple[str, Any], ...]:
        """Return the fields of a service that are given, each with its value."""
        readers: dict[str, Callable[[str], Any]] = {
            "string": self.text,
            "number": self.number,
            "integer": self.whole_number,
            "boolean": lambda key: None if self._value(key) is None else self.flag(key, default=False),
        }
        read = ((name, readers[field.kind](name)) for name, field in wanted.items())
        return tuple((name, value) for name, value in read if value is not None)

    def number(self, key: str, *, minimum: float = -math.inf, maximum: float = math.inf) -> float | None:
        """Return a finite number."""
        value = self._value(key)
        found = number(value)
        if value is not None and (found is None or not minimum <= found <= maximum):
            least = f" of at least {minimum:g}" if math.isfinite(minimum) else ""
            most = f", at most {maximum:.0f}" if found is not None and found > maximum else ""
            raise self._wrong(key, f"a number{least}{most}", is_shown=True)
        return found

    def whole_number(self, key: str, *, minimum: float = -math.inf) -> int | None:
        """Return a whole number."""
        found = self.number(key, minimum=minimum)
        if found is not None and found != int(found):
            raise self._wrong(key, "a whole number", is_shown=True)
        return int(found) if found is not None else None

    def budget(self, key: str) -> Money | None:
        """Return an amount of money with its currency."""
        return read_budget(self.name(key), self._value(key))

    def prices(self, key: str) -> PriceList:
        """Return prices of a picture by model, from an object, also a JSON text."""
        return read_price_list(self.name(key), self._parsed(key))

    def flag(self, key: str, *, default: bool, wanted: str = "true or false") -> bool:
        """Return a truth value."""
        value = self._value(key)
        if value is None:
            return default
        if str(value).strip().lower() not in ("true", "false"):
            raise self._wrong(key, wanted, is_shown=True)
        return str(value).strip().lower() == "true"

    def flag_or_path(self, key: str) -> bool | str:
        """Return a truth value, or the text that is none."""
        value = self._value(key)
        if isinstance(value, str) and value.strip().lower() not in ("true", "false"):
            return value
        return self.flag(key, default=True, wanted="true, false or the path of a CA bundle")

    def host_names(self, key: str) -> tuple[str, ...]:
        """Return host names or addresses in lower case, from a list, also a JSON text, or separated by commas.

        Each holds for its subdomains too. One that no host of a URL can be is refused, since it would never match.
        """
        value = self._parsed(key)
        parts = self._texts(key, value.split(",") if isinstance(value, str) else value, "a list of host names")
        named = [part.strip().lower() for part in parts if part.strip()]
        return tuple(self._host_name(key, name, number) for number, name in enumerate(named, start=1))

    def _host_name(self, key: str, value: str, position: int) -> str:
        try:
            return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
        except ValueError:
            name = value.rstrip(".")
        try:
            is_name = is_host_name(name if name.isascii() else name.encode("idna").decode())
        except UnicodeError:
            is_name = False
        if not is_name:
            raise InvalidRequestError(
                # Not what it lists, which may be a key in the wrong field.
                f"{self.name(key)} has an entry (number {position}) that no host can match; list bare host names "
                "like cdn.example.com, which includes its subdomains, without scheme, port, path, wildcard or "
                "leading dot"
            )
        return name

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, also from a JSON text."""
        return self._texts(key, self._parsed(key), "a list of texts")

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return the fields of an object of texts, by name, also from a JSON text."""
        value = self._parsed(key)
        if value is None:
            return ()
        if not isinstance(value, dict) or not all(isinstance(item, str) and item for item in value.values()):
            # Not by _wrong, which would show the values: they may be keys.
            raise InvalidRequestError(f"{self.name(key)} must be an object whose values are texts")
        return tuple(sorted(value.items()))

    def folder(self, key: str) -> str | None:
        """Return the absolute path of a folder, without a slash at its end."""
        value = self.text(key)
        if value is not None and not value.startswith("/"):
            raise self._wrong(key, "the absolute path of a folder")
        return value.rstrip("/") or "/" if value is not None else None

    def folders(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return pairs of absolute paths."""
        pairs = self.pairs(key)
        if not all(name.startswith("/") and folder.startswith("/") for name, folder in pairs):
            raise self._wrong(key, "an object of absolute paths: the server's folder, and where workers find it")
        return tuple((name.rstrip("/"), folder.rstrip("/")) for name, folder in pairs)

    def _texts(self, key: str, value: Any, wanted: str) -> tuple[str, ...]:
        if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise self._wrong(key, wanted)
        return tuple(value or ())

    def _parsed(self, key: str) -> Any:
        """Return a value that a form delivers as JSON in a text."""
        value = self._value(key)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
