"""What OpenAI publishes of its prices, and what a batch saves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.openai_prices import PICTURES, picture_price
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.services.wire_examples import A

PAGE = Path(__file__).parents[2] / "docs" / "services" / "openai.md"


def asked(model: str = "gpt-image-2", size: Any = "1024x1024", quality: Any = "low", **fields: Any) -> ImageRequest:
    return ImageRequest(prompt="a kite", model=model, options={"size": size, "quality": quality}, **fields)


@pytest.mark.parametrize(
    ("request_", "price"),
    [
        (asked(), 0.006),
        (asked(size="1024x1536"), 0.005),
        (asked(quality="high", size="1536x1024"), 0.165),
        (asked("gpt-image-2-2026-04-21", quality="medium"), 0.053),
        (asked("gpt-image-1.5", quality="high"), 0.133),
        (asked("gpt-image-1-mini", quality="medium", size="1536x1024"), 0.015),
    ],
)
def test_a_picture_costs_by_model_quality_and_size(request_: ImageRequest, price: float) -> None:
    assert picture_price(request_) == get_service("openai").price_of(request_) == price


def test_a_batch_costs_half_of_that() -> None:
    batches = get_service("openai").provider_batches

    assert batches is not None
    assert batches.price_share == 0.5


@pytest.mark.parametrize(
    "request_",
    [
        asked("gpt-image-2.6-flare"),
        asked("chatgpt-image-latest"),
        asked(quality="auto"),
        asked(quality=None),
        asked(quality=["low"]),
        asked(size="auto"),
        asked(size="2048x1152"),
        asked(size=None),
        asked(images=[A]),
        ImageRequest(prompt="a kite"),
    ],
)
def test_what_is_billed_by_the_token_alone_has_no_price(request_: ImageRequest) -> None:
    assert picture_price(request_) is None


def test_the_documentation_shows_the_prices_that_are_counted() -> None:
    row = re.compile(r"^\|(.*?)\| `\d+x\d+`.* \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)
    shown: dict[str, dict[str, list[float]]] = {}
    model = ""
    for name, *prices in row.findall(PAGE.read_text()):
        model = name.strip("` ") or model
        for quality, price in zip(("low", "medium", "high"), prices, strict=True):
            shown.setdefault(model, {}).setdefault(quality, []).append(float(price))

    assert shown == {name: {each: list(two) for each, two in found.items()} for name, found in PICTURES.items()}
