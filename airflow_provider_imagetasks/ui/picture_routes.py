"""The routes that serve pictures: only signed links, only places under the gallery's roots, only raster pictures.

The server signs which file a link means, so that the browser cannot choose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from itsdangerous import BadSignature, URLSafeSerializer

from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import media_type_at
from airflow_provider_imagetasks.ui.cards import whole
from airflow_provider_imagetasks.ui.permissions import MayReadDag
from airflow_provider_imagetasks.ui.roots import Location, locate, roots_of
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, opened
from airflow_provider_imagetasks.ui.thumbnails import LARGEST_FILE, BusyError, Thumbnails

PICTURE = "/dags/{dag_id}/pictures/{token}"
_SALT = "airflow_provider_imagetasks.ui.picture"
CHUNK = 256 * 1024
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Whatever a browser makes of the bytes, they run nothing and load nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    # Airflow would compress what is compressed already.
    "Content-Encoding": "identity",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=3600",
}
_FILE_NUMBERS = ("width", "height", "bytes", "index")
_DIGEST = re.compile(r"[0-9A-Za-z]{1,128}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
"""Names of files that Windows takes for devices."""
MOST_OF_A_NAME = 160
"""Bytes; file systems take 255, and who unpacks adds to a name."""
_STATUS = {"missing": 404, "unreadable": 502}


class PictureLinks:
    """The links to pictures; the same file gives the same link, so that the browser's cache knows it.

    :param secret: Airflow's ``[api] secret_key``, which all api-servers share.
    """

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(secret, salt=_SALT)

    def token(self, dag_id: str, uri: str, sha256: str) -> str:
        """Return what stands for a file of a Dag in a link."""
        return str(self._serializer.dumps([dag_id, uri, sha256]))

    def read(self, token: str, dag_id: str) -> tuple[str, str] | None:
        """Return URI and hash of the file; None where the link is not ours, or another Dag's."""
        try:
            signed: Any = self._serializer.loads(token)
        except BadSignature:
            return None
        if not isinstance(signed, list) or len(signed) != 3 or signed[0] != dag_id:
            return None
        return str(signed[1]), str(signed[2])

    def picture(self, dag_id: str, file: Mapping[str, Any], roots: Sequence[Location]) -> dict[str, Any]:
        """Return what the browser needs to show a stored file: a link where one of the roots allows it."""
        uri, sha256 = str(file.get("uri") or ""), str(file.get("sha256") or "")
        # It may hold anything, and the name of the thumbnail is made of it.
        sha256 = sha256 if _DIGEST.fullmatch(sha256) else ""
        allowed = locate(uri, roots) is not None
        return {
            "uri": uri[:1000],
            "link": f"dags/{quote(dag_id, safe='')}/pictures/{self.token(dag_id, uri, sha256)}" if allowed else None,
            "reach": "ok" if allowed else "outside" if roots else "no_roots",
            "media_type": str(file.get("media_type"))[:40],
            **{name: whole(file.get(name)) for name in _FILE_NUMBERS},
        }


def picture_routes(roots: Sequence[Location], links: PictureLinks, thumbnails: Thumbnails) -> APIRouter:
    """Return the routes of thumbnails and pictures.

    :param roots: where pictures may be read.
    """
    router = APIRouter()

    def place(dag_id: str, token: str) -> tuple[Location, str]:
        signed = links.read(token, dag_id)
        # The roots may have changed since the link was made.
        location = locate(signed[0], roots_of(dag_id, roots)) if signed else None
        if signed is None or location is None:
            raise HTTPException(404, "There is no such picture")
        return location, signed[1]

    @router.get(PICTURE + "/thumbnail")
    async def thumbnail(_: MayReadDag, request: Request, dag_id: str, token: str) -> Response:
        """Return a picture's thumbnail, a WebP file."""
        location, sha256 = place(dag_id, token)
        with _as_http_errors():
            path = await thumbnails.serve(location, sha256)
        etag = f'"{path.stem}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status_code=304, headers={**HEADERS, "ETag": etag})
        return FileResponse(path, media_type="image/webp", headers={**HEADERS, "ETag": etag})

    @router.get(PICTURE)
    def picture(_: MayReadDag, dag_id: str, token: str, download: bool = False) -> Response:
        """Return a picture as it is stored, piece by piece.

        :param download: have the browser store it instead of showing it.
        """
        location, _sha256 = place(dag_id, token)
        with _as_http_errors(), ExitStack() as stack:
            file, size = stack.enter_context(opened(location))
            if size > LARGEST_FILE:
                raise UnusablePictureError(f"it has {size:,} bytes, more than {LARGEST_FILE:,}")
            media_type = media_type_at(file)
            file.seek(0)
            open_file = stack.pop_all()

        def pieces() -> Iterator[bytes]:
            with open_file:
                while piece := file.read(CHUNK):
                    yield piece

        disposition = "attachment" if download else "inline"
        headers = {
            **HEADERS,
            "Content-Length": str(size),
            "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(plain_name(location))}",
        }
        return StreamingResponse(pieces(), media_type=media_type, headers=headers)

    return router


def plain_name(location: Location) -> str:
    """Return the name of a file as any system can store it: in letters and digits of all scripts, and ``._-``."""
    letters = unicodedata.normalize("NFC", PurePosixPath(location.path).name)
    plain = "".join(each if each in "._-" or unicodedata.category(each)[0] in "LMN" else " " for each in letters)
    name = re.sub(" +", "_", plain).encode()[-MOST_OF_A_NAME:].decode(errors="ignore").strip(".") or "picture"
    return f"_{name}" if _DEVICE.match(name) else name


@contextmanager
def _as_http_errors() -> Iterator[None]:
    headers = {"Cache-Control": "no-store"}
    try:
        yield
    except OutOfReachError as error:
        raise HTTPException(_STATUS[str(error)], str(error), headers=headers) from error
    except BusyError as error:
        text, busy = "Too many thumbnails are being made; ask again", {**headers, "Retry-After": "2"}
        raise HTTPException(503, text, headers=busy) from error
    except OSError as error:
        # Of the storage, or of the folder of thumbnails, which is somebody else's or full.
        raise HTTPException(503, "It cannot be read, or no thumbnail kept here", headers=headers) from error
    except UnusablePictureError as error:
        raise HTTPException(415, f"This file is not shown: {error}", headers=headers) from error
