"""Pictures are found wherever a model, or a gateway, has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.services.model_outputs import addresses_named, picture_addresses
from tests.services.wire_examples import A, B

INLINE = "data:image/png;base64,aGk="
OUTPUTS: dict[str, tuple[Any, list[str]]] = {
    "an address": (A, [A]),
    "with blanks around it": (f" {A}\n", [A]),
    "without a scheme": ("//pictures.example/a.png", ["//pictures.example/a.png"]),
    "the picture itself": (INLINE, [INLINE]),
    "several": ([A, B], [A, B]),
    "objects": ([{"url": A}, {"url": B}], [A, B]),
    "deep within": ({"a": {"b": [{"url": A}]}}, [A]),
    "as JSON": (json.dumps({"images": [A]}), [A]),
    "as JSON within JSON": ({"images": json.dumps([{"url": A}])}, [A]),
    "of a kind that nobody told": ({"url": A, "content_type": "application/octet-stream"}, [A]),
    "of no kind": ({"url": A, "content_type": None}, [A]),
    "a film": ({"url": A, "content_type": "video/mp4"}, []),
    "a poem": ("a poem", []),
    "half of JSON": ('{"images": [', []),
    "nested without end": ("[" * 100_000, []),
    "nothing": (None, []),
    "numbers": ([1, 2.5, True], []),
}


@pytest.mark.parametrize(("output", "urls"), OUTPUTS.values(), ids=OUTPUTS)
def test_the_pictures_of_an_output_are_its_addresses(output: Any, urls: list[str]) -> None:
    assert picture_addresses(output, takes_texts=True) == urls


def test_only_objects_count_where_texts_may_be_anything() -> None:
    assert picture_addresses({"prompt": A, "raw": json.dumps([A]), "image": {"url": B}}, takes_texts=False) == [B]


def test_the_first_field_that_has_a_picture_counts() -> None:
    names = ("images", "image")

    assert addresses_named(names, {"image": A, "images": [], "thumbnail": B}) == [A]
    assert addresses_named(names, {"image": "a poem"}) == []
    assert addresses_named(names, {"thumbnail": B}) == []


def test_a_field_for_addresses_keeps_one_that_leads_nowhere() -> None:
    assert addresses_named(("url",), {"url": "file:///etc/passwd"}, are_fields=True) == ["file:///etc/passwd"]
    assert addresses_named(("url",), {"url": ["", " ", None, 5]}, are_fields=True) == []


def test_there_is_an_end_to_pictures() -> None:
    assert len(picture_addresses([A] * 1_000, takes_texts=True)) == 64
