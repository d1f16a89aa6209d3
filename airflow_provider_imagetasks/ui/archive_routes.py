"""The routes by which pictures are carried away: some of them as one zip file, and the manifest of a batch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import IO, Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Form, HTTPException, Path
from fastapi.responses import StreamingResponse

from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import media_type_at
from airflow_provider_imagetasks.ui.permissions import MayReadDag, User, readable_dags
from airflow_provider_imagetasks.ui.picture_routes import CHUNK, HEADERS, PictureLinks, plain_name
from airflow_provider_imagetasks.ui.region_query import Region
from airflow_provider_imagetasks.ui.roots import Location, locate, roots_of
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, opened
from airflow_provider_imagetasks.ui.thumbnails import LARGEST_FILE

MapIndex = Annotated[int, Path(ge=-1, le=2**31 - 1)]
"""As databases hold it."""
MOST_PICTURES = 500
MOST_BYTES = 2 * 1024**3
"""Bytes of pictures in one zip file."""
_MISSING = "not-in-this-archive.txt"
_ZIP = {**HEADERS, "Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="pictures.zip"'}
_MANIFEST = {**HEADERS, "Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="manifest.jsonl"'}


def archive_routes(
    roots: Sequence[Location],
    links: PictureLinks,
    manifest_of: Callable[[str, str, str, int, str], Location | None],
) -> APIRouter:
    """Return the routes.

    :param roots: where pictures may be read.
    :param manifest_of: finds the manifest of a batch by Dag, run, task, map index and region.
    """
    router = APIRouter()

    @router.post("/api/archive")
    def archive(user: User, pictures: Annotated[list[str], Form(max_length=MOST_PICTURES)]) -> StreamingResponse:
        """Return pictures as a zip file, piece by piece; a text in it names those that could not be read.

        :param pictures: the links of the pictures, as the pages of the gallery name them.
        """
        asked = [_of_link(link) for link in pictures]
        readable = readable_dags({dag_id for dag_id, _ in asked}, user)
        places = []
        for dag_id, token in asked:
            signed = links.read(token, dag_id) if dag_id in readable else None
            place = locate(signed[0], roots_of(dag_id, roots)) if signed else None
            if place is None:
                raise HTTPException(404, "There is no such picture")
            places.append(place)
        return StreamingResponse(_zipped(places), media_type="application/zip", headers=_ZIP)

    @router.get("/api/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}/manifest")
    def manifest(
        _: MayReadDag,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: MapIndex,
        region: Region,
    ) -> StreamingResponse:
        """Return the manifest of a batch, piece by piece."""
        try:
            place = manifest_of(dag_id, run_id, task_id, map_index, region)
            if place is None:
                raise HTTPException(404, "This task instance has no manifest")
            with ExitStack() as stack:
                file, size = stack.enter_context(opened(place))
                open_file = stack.pop_all()
        except OutOfReachError as error:
            raise HTTPException(404, f"The manifest cannot be read: {error}") from error

        def pieces() -> Iterator[bytes]:
            with open_file:
                yield from _pieces(file)

        headers = {**_MANIFEST, "Content-Length": str(size)}
        return StreamingResponse(pieces(), media_type="application/jsonl", headers=headers)

    return router


def _of_link(link: str) -> tuple[str, str]:
    """Return Dag id and token of a picture's link; nothing that exists for anything else."""
    parts = link.split("/")
    is_link = len(parts) == 4 and (parts[0], parts[2]) == ("dags", "pictures")
    return (unquote(parts[1]), parts[3]) if is_link else ("", "")


class _Sink(io.RawIOBase):
    """What has been written since it was last taken."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self._written += content
        return len(content)

    def taken(self) -> bytes:
        content = bytes(self._written)
        self._written.clear()
        return content


def _zipped(places: Iterable[Location]) -> Iterator[bytes]:
    sink, names, missing, total = _Sink(), {_MISSING}, list[str](), 0
    # Pictures are compressed already.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for place in dict.fromkeys(places):
            name = _unused(plain_name(place), names)
            try:
                with opened(place) as (file, size):
                    total += size
                    if size > LARGEST_FILE or total > MOST_BYTES:
                        missing.append(f"{name}: too large for this archive")
                        total -= size
                        continue
                    media_type_at(file)
                    file.seek(0)
                    with archive.open(name, "w", force_zip64=True) as target:
                        for piece in _pieces(file):
                            target.write(piece)
                            yield sink.taken()
            except (OutOfReachError, UnusablePictureError) as error:
                missing.append(f"{name}: {error}")
            except Exception as error:  # noqa: BLE001 - each storage's library has errors of its own
                missing.append(f"{name}: could not be read whole ({type(error).__name__})")
        if missing:
            archive.writestr(_MISSING, "\n".join([*missing, ""]))
    yield sink.taken()


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK):
        yield piece


def _unused(name: str, names: set[str]) -> str:
    """Return a name that no other picture has, also where capitals and small letters are the same, and keep it."""
    path, number = PurePosixPath(name), 1
    while name.casefold() in names:
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    names.add(name.casefold())
    return name
