"""Pictures that records hold in base64: decoded as Python does it, or not at all."""

from __future__ import annotations

import base64
import random

import pytest

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.files import inline_pictures
from airflow_provider_imagetasks.files.inline_pictures import content_of
from airflow_provider_imagetasks.tasks import GeneratedImage

WHOLE = base64.b64encode(bytes(range(256))).decode()
ODD = (
    *("A", "AA", "AAA", "AAAA=", "AA==AA==", "====", "AA=A", "AB==", "AAB=", " AAAA", "AAAA\n", "AA AA", '"', "AAAA\\"),
    *("\\u0041AAA", "AAAA\0", "-_-_", "ÄÄÄÄ", "AA\udfffA", 'AAAA", "BBBB', "data:,a%20b", "data:image/png;base64,AAAA"),
)


def verdict(image: GeneratedImage) -> bytes | None:
    try:
        return image.content()
    except ValueError:
        return None


def told(data: str) -> bytes | None:
    try:
        return content_of(GeneratedImage(index=0, data=data))
    except UnsafeResultError:
        return None


@pytest.mark.parametrize("data", [WHOLE, WHOLE[:-1], f"data:image/png;base64,{WHOLE}", "", *ODD])
def test_what_is_base64_is_decoded_and_what_is_none_is_refused(data: str) -> None:
    assert told(data) == verdict(GeneratedImage(index=0, data=data))


def test_damaged_base64_is_never_decoded_to_something_else() -> None:
    chance = random.Random(24)
    for _ in range(2_000):
        place, character = chance.randrange(len(WHOLE)), chance.choice('Aa0+/=-_ \n"\\é\0')
        data = WHOLE[:place] + character + WHOLE[place + chance.randrange(2) :]
        assert told(data) == verdict(GeneratedImage(index=0, data=data)), data


def test_without_a_content_or_with_too_much_of_it_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline_pictures, "LARGEST_BYTES", 255)
    for image in (GeneratedImage(index=0), GeneratedImage(index=0, data=WHOLE)):
        with pytest.raises(UnsafeResultError, match="Picture 0"):
            content_of(image)
