"""The stored files that the gallery may show: those under ``[imagetasks] gallery_roots``, and nothing else. Pure.

XCom is not trusted: whoever can push one could otherwise have any file read that the api-server can reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from urllib.parse import unquote

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_LONGEST_URI = 4_096


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place on some storage, taken apart.

    :param scheme: in lower case; ``file`` for the api-server's own disk.
    :param conn_id: the Airflow connection to reach it with; None for the storage's default.
    :param container: bucket or the like; empty for ``file``.
    :param path: absolute, without a slash at the end.
    :param root: path of the gallery root that it lies under, likewise.
    :param dag_pattern: of a root, the Dags whose pictures it may show, with the wildcards of file names.
    """

    scheme: str
    conn_id: str | None
    container: str
    path: str
    root: str = ""
    dag_pattern: str = "*"

    @property
    def uri(self) -> str:
        """The place as a URI, with the connection."""
        at = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.scheme}://{at}{self.container}{self.path}"

    @property
    def is_local(self) -> bool:
        """Whether it is on the api-server's own disk."""
        return self.scheme == "file"


def read_roots(text: str | None) -> tuple[Location, ...]:
    """Return the roots that the option names, separated by commas or line breaks.

    ``catalogue_*=s3://conn_id@bucket/catalogue`` is a root for the Dags of these names only.

    :raises ValueError: names the one that is not a URI of a folder.
    """
    parts = [part.strip() for part in re.split(r"[,\n]", text or "")]
    roots = []
    for part in filter(None, parts):
        before, names_dags, after = part.partition("=")
        # An equals sign may also stand in the URI.
        pattern, uri = (before.strip(), after.strip()) if names_dags and "://" not in before else ("*", part)
        location = _taken_apart(uri)
        if location is None or not pattern:
            raise ValueError(
                f"[imagetasks] gallery_roots holds {part!r}; write each root as a URI, like "
                "s3://conn_id@bucket/pictures or file:///data/pictures, for some Dags only like catalogue_*=s3://..."
            )
        roots.append(replace(location, dag_pattern=pattern))
    return tuple(roots)


def roots_of(dag_id: str, roots: Iterable[Location]) -> tuple[Location, ...]:
    """Return the roots that may show what a Dag names."""
    return tuple(root for root in roots if fnmatchcase(dag_id, root.dag_pattern))


def locate(uri: object, roots: Iterable[Location]) -> Location | None:
    """Return where a URI points, to be reached as its root says; None where no root allows it.

    Compares whole path segments after normalising, so that ``/data/pics`` does not allow ``/data/pics-secret``. A URI
    that names another connection than the root is refused.
    """
    found = _taken_apart(uri) if isinstance(uri, str) else None
    if found is None:
        return None
    for root in roots:
        same_place = (found.scheme, found.container) == (root.scheme, root.container)
        inside = found.path.startswith(root.path + "/")
        if same_place and inside and found.conn_id in (None, root.conn_id):
            return replace(found, conn_id=root.conn_id, root=root.path)
    return None


def _taken_apart(uri: str) -> Location | None:
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower()
    if not separator or not _SCHEME.fullmatch(scheme) or len(uri) > _LONGEST_URI or not _is_plain(uri):
        return None
    authority, slash, path = rest.partition("/")
    conn_id, at, container = authority.rpartition("@")
    if scheme == "local":
        scheme = "file"
    if (scheme == "file") == bool(authority) or (at and not conn_id):
        return None
    segments = [segment for segment in path.split("/") if segment]
    # Storage decodes nothing, but a proxy or a library before it might.
    if any(_decoded(segment) in (".", "..") or "/" in _decoded(segment) for segment in segments):
        return None
    if scheme == "file" and not slash:
        return None
    return Location(
        scheme=scheme, conn_id=conn_id or None, container=container, path="".join(f"/{segment}" for segment in segments)
    )


def _is_plain(uri: str) -> bool:
    decoded = _decoded(uri)
    return uri.isprintable() and decoded.isprintable() and "\\" not in decoded and "::" not in uri.partition("/")[0]


def _decoded(text: str) -> str:
    for _ in range(5):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text
