"""Structures of picture files: of which kind one is, whether all of it is there, and what decoding it would take."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

Content = bytes | mmap.mmap
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PARTS = 200_000
"""Chunks or segments of a file, far more than encoders write; of a GIF, whose blocks have 255 bytes at most, five times
as many."""
_SIGNATURES = {PNG_SIGNATURE: "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF"}
_SHORTEST = 12
"""Bytes; whatever is shorter was lost on the way."""
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""A JPEG marker that means something: among coded pixels, 0xff is followed by 0, or by a restart marker."""
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_EXIF = b"Exif\0\0"
MOST_EXIF = 64
"""Exif segments of a JPEG, far more than encoders write: Pillow copies all that it has at each further one."""
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_METADATA = (b"iCCP", b"iTXt", b"tEXt", b"zTXt")
_PIECE = 1024 * 1024


class UnusablePictureError(ValueError):
    """A file is not a whole raster picture of a known kind and a sane size.

    :param damaged: it seems to be one, but is cut off or broken, so that fetching it again may help.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What the structure of a file says of the picture in it.

    :param kind: ``"PNG"``, ``"JPEG"``, ``"WEBP"``, ``"GIF"`` or ``"AVIF"``.
    :param size: width and height in pixels; None for AVIF, where only the decoder knows.
    :param frames: pictures of an animation, 1 for a still one.
    :param scans: passes over all pixels that a JPEG takes; ``components`` are its colours.
    :param has_alpha: whether a PNG can be transparent.
    """

    kind: str
    size: tuple[int, int] | None = None
    frames: int = 1
    scans: int = 1
    components: int = 3
    has_alpha: bool = False


def kind_of(beginning: bytes) -> str | None:
    """Return the kind of a file by its first bytes, at least 64 of them; None for what is no raster picture."""
    for signature, kind in _SIGNATURES.items():
        if beginning.startswith(signature):
            return kind
    if beginning.startswith(b"RIFF") and beginning[8:12] == b"WEBP":
        return "WEBP"
    if beginning[4:8] == b"ftyp":
        # The first brand may be that of a container, which holds HEIC as well.
        end = min(len(beginning), int.from_bytes(beginning[:4], "big"))
        brands = {beginning[8:12], *(beginning[start : start + 4] for start in range(16, end, 4))}
        return "AVIF" if brands & _AVIF_BRANDS else None
    return None


def _other_kind(beginning: bytes) -> str:
    """Return what a file is that is no picture, for a message; nothing of what stands in it, which may be a secret."""
    if beginning[4:8] == b"ftyp":
        return ", but MP4, or another film or picture of its kind"
    names = {b"<": "HTML or XML", b"{": "JSON", b"[": "JSON", b"%PDF": "PDF", b"PK": "ZIP", b"\x1f\x8b": "gzip"}
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((f", but {name}" for start, name in names.items() if text.startswith(start)), "")


def structure_of(content: Content) -> Structure:
    """Read the structure of a file from its beginning to its end.

    :raises UnusablePictureError: it is not a raster picture, or not all of it is there.
    """
    beginning = content[:64]
    kind = kind_of(beginning)
    if kind is None:
        if len(beginning) < _SHORTEST:
            size = f"has no more than {len(beginning)} bytes" if beginning else "is empty"
            raise UnusablePictureError(f"it {size}", damaged=True)
        raise UnusablePictureError(f"it is not a picture{_other_kind(beginning)}")
    read = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "WEBP": _webp, "AVIF": _avif}[kind]
    try:
        return read(content)
    except (IndexError, struct.error):
        raise damaged(kind, "it ends too early") from None


def size_in_header(kind: str, beginning: bytes) -> tuple[int, int] | None:
    """Return width and height as they stand at the beginning of a file; None for JPEG and AVIF.

    :raises UnusablePictureError: they do not stand there.
    """
    try:
        if kind == "PNG" and beginning[12:16] == b"IHDR":
            return struct.unpack_from(">II", beginning, 16)
        if kind == "GIF":
            return struct.unpack_from("<HH", beginning, 6)
        if kind == "WEBP":
            return _webp_size(beginning)
    except (IndexError, struct.error):
        pass
    if kind in ("JPEG", "AVIF"):
        return None
    raise damaged(kind, "its beginning does not say its size")


def without_metadata(png: Content) -> bytes:
    """Return a PNG without its texts and its colour profile, which Pillow refuses to unpack beyond a megabyte.

    :param png: whole.
    """
    kept = [PNG_SIGNATURE]
    kept += [png[start - 8 : end + 4] for name, start, end in _png_chunks(png) if name not in _PNG_METADATA]
    return b"".join(kept)


def damaged(kind: str, why: str) -> UnusablePictureError:
    """Return the error of a picture of which something was lost, most likely on the way."""
    return UnusablePictureError(f"it is a damaged {kind} picture, or was cut off ({why})", damaged=True)


def _too_many_parts(kind: str) -> UnusablePictureError:
    return UnusablePictureError(f"it is a {kind} picture with more parts than any encoder writes")


def _png_chunks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk, and where its content begins and ends."""
    start, name = 16, b""
    for _ in range(MOST_PARTS):
        length, name = struct.unpack(">I4s", content[start - 8 : start])
        yield name, start, start + length
        if name == b"IEND":
            return
        start += length + 12
    raise _too_many_parts("PNG")


def _png(content: Content) -> Structure:
    names: dict[bytes, int] = {}
    for name, start, end in _png_chunks(content):
        if not name.isalpha():
            raise damaged("PNG", f"it has a chunk {name!r}")
        checksum = zlib.crc32(name)
        for piece in range(start, min(end, len(content)), _PIECE):
            checksum = zlib.crc32(content[piece : min(end, piece + _PIECE)], checksum)
        if struct.unpack(">I", content[end : end + 4]) != (checksum,):
            raise damaged("PNG", f"the checksum of a chunk {name.decode()} is wrong")
        names[name] = names.get(name, 0) + 1
        if len(names) == 1 and (name, end - start) != (b"IHDR", 13):
            raise UnusablePictureError("it is a PNG picture without a header")
    width, height, depth, colour, *methods = struct.unpack(">IIBBBBB", content[16:29])
    lacks = [each for each in (b"IDAT", *((b"PLTE",) if colour == 3 else ())) if each not in names]
    if lacks or not (width and height):
        lacking = f"a chunk {lacks[0].decode()}" if lacks else "a size"
        raise UnusablePictureError(f"it is a PNG picture without {lacking}, although it was received completely")
    if depth not in _PNG_DEPTHS.get(colour, ()) or methods[:2] != [0, 0] or methods[2] > 1:
        raise UnusablePictureError(f"it is a PNG picture of an unknown form (depth {depth}, colour {colour})")
    frames = max(1, names.get(b"fcTL", 1))
    has_alpha = colour in (4, 6) or b"tRNS" in names
    return Structure(kind="PNG", size=(width, height), frames=frames, has_alpha=has_alpha)


def _jpeg(content: Content) -> Structure:
    """Read the markers of a JPEG. Only the first picture counts: phones put others behind it."""
    position, scans, size, components, unread, exifs = 2, 0, None, 3, "", 0
    for _ in range(MOST_PARTS):
        found = _MARKER.search(content, position)
        if found is None:
            raise damaged("JPEG", "it has no end")
        marker, position = found[0][1], found.end()
        if marker == 0xD9:
            break
        # Decoders pass over the others too: whoever took their next bytes for a length would miss what follows.
        if marker < 0xC0 or marker == 0xD8:
            continue
        scans += marker == 0xDA
        exifs += marker == 0xE1 and content[position + 2 : position + 8] == _EXIF
        if marker in _START_OF_FRAME:
            bits, height, width, components = struct.unpack(">BHHB", content[position + 2 : position + 8])
            size = (width, height)
            unread = unread or _unread_form(marker, bits, height, components)
        position += struct.unpack(">H", content[position : position + 2])[0]
    else:
        raise _too_many_parts("JPEG")
    if size is None or not scans:
        raise damaged("JPEG", "it has no pixels")
    if exifs > MOST_EXIF:
        raise UnusablePictureError(f"it is a JPEG picture with {exifs} Exif segments, more than any encoder writes")
    if unread:
        raise UnusablePictureError(
            f"it is a JPEG picture of a form that Pillow cannot read ({unread}), although it was received completely"
        )
    return Structure(kind="JPEG", size=size, scans=scans, components=components)


def _unread_form(marker: int, bits: int, height: int, components: int) -> str:
    """Return which form a JPEG has that Pillow does not read; empty for those that it does."""
    if marker in _HIERARCHICAL:
        return "hierarchical"
    if marker in _LOSSLESS:
        return "lossless"
    if bits != 8:
        return f"{bits} bits a colour"
    if not height:
        return "its height follows behind its pixels"
    return "" if components in (1, 3, 4) else f"{components} colours"


def _gif(content: Content) -> Structure:
    width, height = struct.unpack("<HH", content[6:10])
    position, frames, is_block = 13 + _gif_colours(content[10]), 0, False
    for _ in range(5 * MOST_PARTS):
        # Within a block, this is the length of its next piece.
        first = content[position]
        position += 1
        if is_block:
            position, is_block = position + first, bool(first)
        elif first == 0x3B:
            break
        elif first == 0x21:
            position, is_block = position + 1, True
        elif first == 0x2C:
            left, top, wide, high, flags = struct.unpack("<4HB", content[position : position + 9])
            width, height = max(width, left + wide), max(height, top + high)
            position, is_block = position + 10 + _gif_colours(flags), True
            frames += 1
        elif first:
            raise damaged("GIF", f"a block begins with {first}")
    else:
        raise _too_many_parts("GIF")
    if not frames:
        raise UnusablePictureError("it is a GIF without a picture")
    return Structure(kind="GIF", size=(width, height), frames=frames)


def _gif_colours(flags: int) -> int:
    """Return the bytes of the table of colours that follows flags."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _webp(content: Content) -> Structure:
    end = 8 + int.from_bytes(content[4:8], "little")
    if len(content) < end:
        raise damaged("WEBP", f"it ends after {len(content):,} of {end:,} bytes")
    position, frames = 12, 0
    for _ in range(MOST_PARTS):
        if position + 8 > end:
            break
        name, length = struct.unpack("<4sI", content[position : position + 8])
        frames += name == b"ANMF"
        position += 8 + length + length % 2
    else:
        raise _too_many_parts("WebP")
    if position > end + 1:
        raise damaged("WEBP", "its last chunk is longer than it")
    return Structure(kind="WEBP", size=size_in_header("WEBP", content[:64]), frames=max(1, frames))


def _webp_size(beginning: bytes) -> tuple[int, int]:
    name = beginning[12:16]
    if name == b"VP8X":
        width, height = (int.from_bytes(beginning[start : start + 3], "little") for start in (24, 27))
        return width + 1, height + 1
    if name == b"VP8L":
        bits = struct.unpack_from("<I", beginning, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name != b"VP8 ":
        raise IndexError(name)
    width, height = struct.unpack_from("<HH", beginning, 26)
    return width & 0x3FFF, height & 0x3FFF


def _avif(content: Content) -> Structure:
    position, names = 0, set()
    for _ in range(MOST_PARTS):
        head = content[position : position + 16]
        if len(head) < 8 or not head[4:8].isalnum():
            break
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = struct.unpack_from(">Q", head, 8)[0]
        names.add(head[4:8])
        # 0 stands for the rest of the file.
        position = position + max(8, length) if length else len(content)
    else:
        raise _too_many_parts("AVIF")
    if position > len(content) or not names & {b"meta", b"moov"}:
        raise damaged("AVIF", f"it ends after {len(content):,} of {position:,} bytes")
    return Structure(kind="AVIF")
