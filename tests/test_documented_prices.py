"""The prices that the documentation names are those that costs are counted with."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_provider_imagetasks.services import acedatacloud, get_service, kie, known_services
from airflow_provider_imagetasks.services.openai_prices import PICTURES, picture_price
from airflow_provider_imagetasks.tasks import ImageRequest

DOCS = Path(__file__).parents[1] / "docs"


def section(page: str, heading: str) -> str:
    return (DOCS / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_prices_that_the_page_on_costs_names_are_those_that_are_counted_with() -> None:
    text = section("costs.md", "Known prices")
    rows = re.findall(r"^\| (?:`acedatacloud` )?\| (`[^|]*`) \| (0\.\d+) \|$", text, re.MULTILINE)
    named = {name: float(price) for names, price in rows for name in re.findall(r"`([^`]+)`", names)}
    (by_resolution,) = re.findall(r"^\| `kie` \| .* \| (.*) \|$", text, re.MULTILINE)

    assert named == {name: round(price, 4) for name, price in acedatacloud.PRICES.items()}
    assert {name: float(price) for price, name in re.findall(r"(0\.\d+) in `(\w+)`", by_resolution)} == kie.PRICES


def test_the_page_on_costs_names_each_service_that_publishes_prices() -> None:
    text = section("costs.md", "Known prices")
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    priced = set()
    for name in known_services():
        for model in re.findall(r"`([^`]+)`", text):
            options = {"quality": "low", "size": "1024x1024"}
            if get_service(name).price_of(ImageRequest(prompt="a kite", model=model, options=options)):
                priced.add(name)

    assert named == priced


def test_the_prices_on_the_page_of_openai_are_those_that_are_counted_with() -> None:
    text = section("services/openai.md", "What it costs")
    model, counted = "", 0
    for cells in re.findall(
        r"^\| (?:`([^`|]*)` )?\| (`[^|]*`) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE
    ):
        model = cells[0] or model
        for size in re.findall(r"`([^`]+)`", cells[1]):
            for quality, price in zip(("low", "medium", "high"), cells[2:], strict=True):
                request = ImageRequest(prompt="a kite", model=model, options={"quality": quality, "size": size})
                assert picture_price(request) == float(price)
                counted += 1

    assert counted == len(PICTURES) * 9
