"""The tables that say what each service can do are held against the services themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import ConnectionContract
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from tests.services.wire_examples import account

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": ROOT / "README.md", "services": ROOT / "docs" / "services" / "index.md"}
PICTURE = ImageFile(name="a.png", media_type="image/png", content=b"a picture")
NAMED_MODELS = {"fal": "fal-ai/flux/dev", "replicate": "black-forest-labs/flux-2-pro"}
"""A model for services that want one to be named."""


def takes(service: Service, **pictures: object) -> bool:
    """Whether a service takes an edit of these pictures."""
    model = NAMED_MODELS.get(service.name)
    request = ImageRequest(prompt="a kite", model=model, **pictures)  # type: ignore[arg-type]
    try:
        service.complete(request, account(output_dir="/srv/images"))
    except InvalidRequestError:
        return False
    return True


def edits(service: Service) -> str:
    kinds = {
        "URLs": takes(service, images=["https://pictures.example/a.png"]),
        "files": takes(service, images=[PICTURE]),
        "mask": takes(service, images=[PICTURE], mask=PICTURE),
    }
    return ", ".join(kind for kind, is_taken in kinds.items() if is_taken) or "no"


def finding(service: Service) -> str:
    if service.finds_by_trace_id:
        return "by trace id"
    return "by repeating it" if service.repeats_submit_by_key else "no"


def calling_back(service: Service) -> str:
    if service.has_account_webhook:
        return "one webhook, signed"
    if not service.takes_callback_url:
        return "no"
    signs = type(service).check_callback is not ConnectionContract.check_callback
    return "yes, signed" if signs else "yes"


def life(service: Service) -> str:
    seconds = service.results_live_for
    if seconds is None:
        return ""
    hours = seconds / 3600
    if hours >= 48:
        return f"{hours / 24:g} days"
    return f"{hours:g} hour{'s' if hours != 1 else ''}"


CELLS: dict[str, Callable[[Service], str]] = {
    "Default model": lambda service: f"`{service.default_model}`" if service.default_model else "none: name it",
    "Inputs for edits": edits,
    "Finds a lost submission": finding,
    "Image tasks per status request": lambda service: (
        f"{'up to ' if service.batch_leaves_out else ''}{service.batch_size}"
    ),
    "Can cancel": lambda service: "yes" if service.can_cancel else "no",
    "Callbacks": calling_back,
    "Results kept for": life,
}
"""What a cell says of a service, by the head of its column."""


def table(page: Path) -> dict[str, dict[str, str]]:
    """Return the table of services of a page: for each service the cells by the heads of their columns."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    head = next(index for index, line in enumerate(lines) if line.startswith("| `service` |"))
    names = [cell.strip() for cell in lines[head].strip("|").split("|")]
    found = {}
    for line in lines[head + 2 :]:
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        named = re.match(r"\[`(\w+)`\]", cells[0])
        if named is None:
            break
        found[named[1]] = dict(zip(names, cells, strict=True))
    return found


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_table_has_every_service_with_a_page_of_its_own(page: Path) -> None:
    rows = table(page)

    assert list(rows) == list(known_services())
    for name, cells in rows.items():
        own = ROOT / "docs" / "services" / f"{name.replace('_', '-')}.md"
        assert own.is_file(), name
        assert cells["`service`"] in {f"[`{name}`]({own.name})", f"[`{name}`][{own.stem}]"}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_table_says_of_each_service_what_it_can_do(page: Path) -> None:
    rows = table(page)
    checked = set(next(iter(rows.values()))) - {"`service`", "What it is"}

    assert checked <= set(CELLS)
    for name, cells in rows.items():
        service = get_service(name)
        assert {head: cells[head] for head in checked} == {head: CELLS[head](service) for head in checked}, name


def test_the_table_of_the_pages_on_services_has_all_columns() -> None:
    assert set(CELLS) <= set(next(iter(table(PAGES["services"]).values())))
