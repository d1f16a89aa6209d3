"""Small versions of pictures: made once, kept on disk within bounds, decoded within bounds of memory and time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError, damaged
from airflow_provider_imagetasks.files.pictures import PixelBudget, held_pixels, open_picture
from airflow_provider_imagetasks.ui.roots import Location
from airflow_provider_imagetasks.ui.stored_files import opened

EDGE = 512
"""Longest edge of a thumbnail in pixels: enough for a card on a screen with two pixels a point."""
LONGEST_EDGE = 2_048
"""The same of a picture more than twice as long as it is wide."""
LARGEST_FILE = 64 * 1024 * 1024
AT_ONCE = 2
"""Thumbnails that one api-server process makes at the same time."""
MOST_WAITING = 64
"""Thumbnails that are being made or wait for that."""
LONGEST_WAIT = 20.0
"""Seconds that a request waits for one."""
MOST_CACHED = 256 * 1024 * 1024
_LOCKS = 64


class BusyError(Exception):
    """So many thumbnails are being made already that this one would have to wait for long."""


class Thumbnails:
    """A folder of thumbnails that the workers of one api-server share; the oldest give way.

    :param folder: private to this user; made on demand.
    :param most_bytes: what the folder may hold.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_CACHED, budget: PixelBudget | None = None) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._budget = budget or PixelBudget()
        # Two requests for one picture must not decode it twice; a few locks serve all names.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._sweeping = threading.Lock()
        self._written = 0
        # Of their own: the api-server has few threads, and whoever waits for a thumbnail must not hold all of them.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="imagetasks-thumbnails")
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self.made = 0
        """How many were decoded by this process."""

    async def serve(self, location: Location, sha256: str) -> Path:
        """Return the thumbnail of a picture as :meth:`get` does, made in one of few threads kept for that.

        :raises BusyError: too many are being made.
        """
        path = self._path(location, sha256)
        if await asyncio.to_thread(_is_kept, path):
            return path
        if not self._places.acquire(blocking=False):
            raise BusyError
        job = self._threads.submit(self.get, location, sha256)
        job.add_done_callback(lambda _job: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), LONGEST_WAIT)
        except TimeoutError as error:
            raise BusyError from error

    def get(self, location: Location, sha256: str) -> Path:
        """Return the thumbnail of a picture, a WebP file.

        :param sha256: of the picture as it was stored; another one at the same place gets a thumbnail of its own.
        :raises UnusablePictureError: it is no raster picture, or too large to decode.
        :raises OutOfReachError: it cannot be read.
        """
        path = self._path(location, sha256)
        with self._locks[int(path.name[:8], 16) % _LOCKS]:
            if not _is_kept(path):
                self._make(location, path)
        return path

    def _path(self, location: Location, sha256: str) -> Path:
        name = hashlib.sha256(f"{location.uri}\0{sha256}".encode()).hexdigest()
        return self._folder / f"{name}.webp"

    def _make(self, location: Location, path: Path) -> None:
        from PIL import ImageOps

        private_folder(self._folder)
        with opened(location) as (file, size):
            if size > LARGEST_FILE:
                raise UnusablePictureError(f"it has {size:,} bytes, more than {LARGEST_FILE:,}")
            structure, image = open_picture(file.read())
        pixels, held = image.width * image.height, held_pixels(structure, image.size)
        if held > self._budget.pixels:
            raise UnusablePictureError(
                f"it has {pixels:,} pixels, more than {self._budget.pixels * pixels // held:,}, and is not decoded"
            )
        draft = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with self._budget.taking(held):
            try:
                edge = _edge_of(image.width, image.height)
                image.draft("RGB", (edge, edge))
                image.thumbnail((edge, edge))
                with suppress(Exception):
                    # Whatever is wrong with what a camera wrote, the picture itself can be shown.
                    ImageOps.exif_transpose(image, in_place=True)
                mode = "RGBA" if image.has_transparency_data else "RGB"
                image.convert(mode).save(draft, "WEBP", quality=80, method=0)
                draft.replace(path)
            except Exception as error:
                # What Pillow raises is decided by the file.
                raise damaged(structure.kind, f"{type(error).__name__}: {error}"[:200]) from error
            finally:
                draft.unlink(missing_ok=True)
        self.made += 1
        self._written += path.stat().st_size
        if self._written > self._most_bytes / 16:
            self._sweep()

    def _sweep(self) -> None:
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            self._written = 0
            kept = []
            for entry in self._folder.iterdir():
                with suppress(OSError):
                    status = entry.stat()
                    kept.append((status.st_mtime, status.st_size, entry))
            total = sum(size for _, size, _ in kept)
            for _, size, entry in sorted(kept):
                if total <= self._most_bytes:
                    break
                entry.unlink(missing_ok=True)
                total -= size
        finally:
            self._sweeping.release()


def _is_kept(path: Path) -> bool:
    """Whether a thumbnail is there; it counts as used, and the time of the last use decides which give way."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _edge_of(width: int, height: int) -> int:
    """Return the longest edge of a picture's thumbnail: a card shows the middle of a long one, which must fill it."""
    shortest, longest = sorted((width, height))
    return max(EDGE, min(LONGEST_EDGE, EDGE // 2 * longest // shortest))


def usual_folder() -> Path:
    """Return where this user's thumbnails are kept."""
    return Path(tempfile.gettempdir()) / f"airflow-imagetasks-thumbnails-{os.getuid()}"


def private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter.

    :raises PermissionError: somebody else made it first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone; remove it")
