"""What was asked for, as it is shown and copied: whole, or said not to be."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.gallery import Gallery
from airflow_provider_imagetasks.ui.request_card import python_text, request_card
from tests.ui.conftest import MetadataDatabase, a_run


def shown(**asked: Any) -> dict[str, Any]:
    return request_card(asked, lambda uri: {"uri": uri.partition("?")[0]})


@pytest.mark.parametrize("seed", [2**53 + 1, -(2**63), 10**40])
def test_a_seed_is_shown_and_copied_with_all_its_digits(seed: int) -> None:
    options = {"seed": seed, "input": {"seeds": [seed, 7]}, "n": 2, "scale": 7.0, "raw": True, "style": None}
    options["quality"] = "high"

    request = shown(options=options)

    told = {"seed": str(seed), "input": f'{{"seeds": [{seed}, 7]}}', "n": "2", "scale": "7.0", "raw": "true"}
    told |= {"style": "null", "quality": "high"}
    assert request["options"] == told
    assert ast.literal_eval(request["python"]["options"]) == options
    assert request["cut"] == []


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("prompt", "a kite " * 5_000),
        ("options", {"negative_prompt": "x" * 3_000}),
        ("options", {f"option_{number}": 1 for number in range(70)}),
        ("options", {"o" * 200: 1}),
        ("options", {"scale": float("nan")}),
        ("options", {"deep": eval("[" * 50 + "]" * 50)}),
        ("images", ["https://host/a.png?signature=x"]),
        ("images", [f"https://host/{number}.png" for number in range(70)]),
        ("mask", "https://host/a.png?signature=x"),
    ],
)
def test_what_is_not_shown_whole_is_named_and_never_copied_as_if_it_were(argument: str, value: Any) -> None:
    request = shown(**{argument: value})

    assert request["cut"] == [argument]
    copied = request["python"].get(argument, "None")
    assert ast.literal_eval(copied) != value
    assert "not shown" not in copied
    if argument == "prompt":
        assert request["prompt"].endswith("…")


def test_an_option_that_is_not_known_whole_is_not_copied() -> None:
    request = shown(options={"n": 2, "negative_prompt": "x" * 3_000})

    assert request["options"] == {"n": "2", "negative_prompt": "x" * 1_999 + "…"}
    assert request["python"]["options"] == '{"n": 2}'


@pytest.mark.parametrize(
    "value",
    [
        "a kite",
        'say "kite"',
        "\n\t\\",
        "\U0001f600",
        "\ud83d",
        "\u202ekite",
        "\x00",
        {"a": ["x" * 90, {"b": None}]},
        [],
        {},
    ],
)
def test_what_is_copied_is_the_value_and_hides_nothing(value: Any) -> None:
    written = python_text(value, "    ")

    assert ast.literal_eval(written.replace("\n", "\n    ")) == value
    assert "\u202e" not in written


@pytest.mark.parametrize(
    "junk",
    [
        "None",
        "{",
        "[" * 9999,
        7,
        None,
        {"a": [1.5, None]},
        ["x", 5],
        {"o": "y" * 9999, "p": [float("nan")], "q": ["z" * 9999]},
    ],
)
def test_whatever_a_template_rendered_breaks_nothing(database: MetadataDatabase, gallery: Gallery, junk: Any) -> None:
    database.render("submit", dict.fromkeys(("prompt", "model", "options", "images", "mask"), junk))

    assert len(json.dumps(gallery.request_of(a_run(database), "submit", -1, None), allow_nan=False)) < 90_000
    assert gallery.request_of(a_run(database), "another", -1, None)["options"] == {}
