"""Small versions of pictures: made once, kept on disk within bounds, decoded within bounds of memory."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_provider_imagetasks.files.pictures import UnusablePictureError, peek_picture
from airflow_provider_imagetasks.ui.roots import Location
from airflow_provider_imagetasks.ui.stored_files import opened

EDGE = 512
"""Longest edge of a thumbnail in pixels: enough for a card on a screen with two pixels a point."""
LARGEST_FILE = 64 * 1024 * 1024
MOST_PIXELS = 50_000_000
"""Pixels that may be decoded at the same time, by all requests to one api-server process together (some 200 MB)."""
MOST_CACHED = 256 * 1024 * 1024
_LOCKS = 64


class PixelBudget:
    """A bound on the pixels that decoders hold at the same time.

    :param pixels: the bound.
    """

    def __init__(self, pixels: int = MOST_PIXELS) -> None:
        self.pixels = pixels
        self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels while the block runs; waits until they are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


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
        self.made = 0
        """How many were decoded by this process."""

    def get(self, location: Location, sha256: str) -> Path:
        """Return the thumbnail of a picture, a WebP file.

        :param sha256: of the picture as it was stored; another one at the same place gets a thumbnail of its own.
        :raises UnusablePictureError: it is no raster picture, or too large to decode.
        :raises OutOfReachError: it cannot be read.
        """
        name = hashlib.sha256(f"{location.uri}\0{sha256}".encode()).hexdigest()
        path = self._folder / f"{name}.webp"
        with self._locks[int(name[:8], 16) % _LOCKS]:
            try:
                # The time of the last use decides which give way.
                os.utime(path)
            except FileNotFoundError:
                self._make(location, path)
        return path

    def _make(self, location: Location, path: Path) -> None:
        from PIL import Image, ImageOps

        private_folder(self._folder)
        draft = path.with_suffix(f".{secrets.token_hex(4)}.part")
        with opened(location) as (file, size):
            if size > LARGEST_FILE:
                raise UnusablePictureError(f"it has {size:,} bytes, more than {LARGEST_FILE:,}")
            image = peek_picture(file)
            pixels = image.width * image.height
            if pixels > self._budget.pixels:
                raise UnusablePictureError(f"it has {pixels:,} pixels, more than {self._budget.pixels:,}")
            with self._budget.taking(pixels):
                try:
                    image.draft("RGB", (EDGE, EDGE))
                    image.thumbnail((EDGE, EDGE))
                    upright = ImageOps.exif_transpose(image)
                    mode = "RGBA" if upright.has_transparency_data else "RGB"
                    upright.convert(mode).save(draft, "WEBP", quality=80, method=0)
                    draft.replace(path)
                except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                    raise UnusablePictureError(f"it is a damaged picture ({error})", damaged=True) from error
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
