"""Long texts of an answer are cut, and what is left reads as before, wherever its blocks meet."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_imagetasks.transports import shortened_texts
from airflow_provider_imagetasks.transports.shortened_texts import ShortenedTexts

TEXTS = st.text(st.sampled_from('a"\\{[,:\n\0é你🎨'))
VALUES = st.recursive(st.none() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))
SIZES = st.integers(1, 60)


def left_of(value: Any, size: int, *, ensure_ascii: bool) -> Any:
    content = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    shortened = ShortenedTexts()
    return json.loads(b"".join(shortened.of(content[at : at + size]) for at in range(0, len(content), size)))


@given(value=VALUES, size=SIZES, ensure_ascii=st.booleans())
def test_what_is_not_long_stays_as_it_is(value: Any, size: int, ensure_ascii: bool) -> None:
    assert left_of(value, size, ensure_ascii=ensure_ascii) == value


@given(text=TEXTS, size=SIZES, ensure_ascii=st.booleans())
def test_of_what_is_long_the_beginning_stays_and_all_that_is_around_it(
    text: str, size: int, ensure_ascii: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortened_texts, "MOST_OF_A_TEXT", 20)
        left = left_of({"before": 1, "text": text, "after": {"more": "x"}}, size, ensure_ascii=ensure_ascii)

    kept = left.pop("text")
    # Where it was cut between the two halves of a character, one of them stays.
    assert text.startswith(kept.rstrip("\ud83c"))
    assert len(kept) < 20 + size + 12
    assert left == {"before": 1, "after": {"more": "x"}}
