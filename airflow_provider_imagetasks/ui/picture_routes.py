"""Serves pictures through Airflow: only signed places, only under the gallery's roots, only raster pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from airflow_provider_imagetasks.files.pictures import UnusablePictureError, peek_picture
from airflow_provider_imagetasks.ui.permissions import MayReadDag
from airflow_provider_imagetasks.ui.picture_links import PictureLinks
from airflow_provider_imagetasks.ui.roots import Location, locate
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, opened
from airflow_provider_imagetasks.ui.thumbnails import LARGEST_FILE, Thumbnails

PICTURE = "/dags/{dag_id}/pictures/{token}"
_CHUNK = 256 * 1024
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Whatever a browser makes of the bytes, they run nothing and load nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
    # Airflow would compress what is compressed already.
    "Content-Encoding": "identity",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, max-age=3600",
}
_STATUS = {"missing": 404, "unreadable": 502}


def picture_routes(roots: Sequence[Location], links: PictureLinks, thumbnails: Thumbnails) -> APIRouter:
    """Return the routes of thumbnails and pictures.

    :param roots: where pictures may be read.
    """
    router = APIRouter()

    def place(dag_id: str, token: str) -> tuple[Location, str]:
        signed = links.read(token, dag_id)
        # The roots may have changed since the link was made.
        location = locate(signed[0], roots) if signed else None
        if signed is None or location is None:
            raise HTTPException(404, "There is no such picture")
        return location, signed[1]

    @router.get(PICTURE + "/thumbnail")
    def thumbnail(_: MayReadDag, request: Request, dag_id: str, token: str) -> Response:
        """Return a picture's thumbnail, a WebP file."""
        location, sha256 = place(dag_id, token)
        try:
            path = thumbnails.get(location, sha256)
        except OutOfReachError as error:
            raise _out_of_reach(error) from error
        except UnusablePictureError as error:
            raise _unusable(error) from error
        etag = f'"{path.stem}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status_code=304, headers={**_HEADERS, "ETag": etag})
        return FileResponse(path, media_type="image/webp", headers={**_HEADERS, "ETag": etag})

    @router.get(PICTURE)
    def picture(_: MayReadDag, dag_id: str, token: str, download: bool = False) -> Response:
        """Return a picture as it is stored, piece by piece.

        :param download: have the browser store it instead of showing it.
        """
        location, _sha256 = place(dag_id, token)
        stack = ExitStack()
        try:
            file, size = stack.enter_context(opened(location))
            if size > LARGEST_FILE:
                raise UnusablePictureError(f"it has {size:,} bytes, more than {LARGEST_FILE:,}")
            peeked = peek_picture(file)
            file.seek(0)
        except OutOfReachError as error:
            stack.close()
            raise _out_of_reach(error) from error
        except UnusablePictureError as error:
            stack.close()
            raise _unusable(error) from error

        def pieces() -> Iterator[bytes]:
            with stack:
                while piece := file.read(_CHUNK):
                    yield piece

        disposition = "attachment" if download else "inline"
        headers = {
            **_HEADERS,
            "Content-Length": str(size),
            "Content-Disposition": f'{disposition}; filename="{_plain_name(location)}"',
        }
        return StreamingResponse(pieces(), media_type=peeked.media_type, headers=headers)

    return router


def _plain_name(location: Location) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", PurePosixPath(location.path).name)[-120:]


def _out_of_reach(error: OutOfReachError) -> HTTPException:
    return HTTPException(_STATUS[error.reason], error.reason, headers={"Cache-Control": "no-store"})


def _unusable(error: UnusablePictureError) -> HTTPException:
    return HTTPException(415, f"This file is not shown: {error}", headers={"Cache-Control": "no-store"})
