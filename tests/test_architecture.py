"""The house: the folders that CONTRIBUTING lists, from the bottom to the top, and imports that go one way."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from airflow_provider_imagetasks.services import get_service, known_services

PACKAGE = "airflow_provider_imagetasks"
ROOT = Path(__file__).parents[1]
ALONE = "local"
"""A program of its own, which only tests and the demonstration use."""
SOURCES = sorted(
    path for path in (ROOT / PACKAGE).rglob("*.py") if path.relative_to(ROOT / PACKAGE).parts != ("__init__.py",)
)
MOST_ENTRIES, MOST_LINES = 20, 350

PURE = re.compile(r"(^|[.;] )Pure\b|\bpure\b")


def rooms() -> list[tuple[str, ...]]:
    """Return what CONTRIBUTING lists, a line after the other: the lowest first."""
    (block,) = re.findall(r"## The house\n.*?```\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    names = [line.partition("  ")[0] for line in block.splitlines() if line and not line.startswith(" ")]
    return [tuple(name.rstrip("/") for name in line.split()) for line in names]


RANKS = {name: rank for rank, names in enumerate(rooms()) for name in names}


def room_of(path: Path) -> str:
    """Return the entry of the list that a file belongs to."""
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Return the full name of everything that a file imports, wherever in it."""

    def names() -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    return tuple(names())


def own_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports from; names of the package itself have none."""
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1} - {"__version__"}


def is_pure(path: Path) -> bool:
    """Whether a file belongs to the protocol, or says of itself that it does no I/O."""
    if room_of(path) in ("exceptions", "tasks", "services"):
        return True
    return bool(PURE.search(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))


def each(sources: list[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sources]


def test_contributing_lists_every_room_and_no_other() -> None:
    there = {
        entry.name.removesuffix(".py")
        for entry in (ROOT / PACKAGE).iterdir()
        if entry.name not in ("__init__.py", "__pycache__", "py.typed")
    }

    assert set(RANKS) == there


def test_the_package_has_few_rooms_and_files_that_can_be_read_in_one_sitting() -> None:
    package = ROOT / PACKAGE
    lines = {str(path.relative_to(package)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}

    assert len([entry for entry in package.iterdir() if entry.name != "__pycache__"]) <= MOST_ENTRIES
    assert [name for name, count in lines.items() if count > MOST_LINES] == []


FAMILIES = ("__init__", "tasks_api", "jobs_api", "gpt_image", "local_service", "refusals")
"""Beside the files that begin with a service's name, those that know one: the list of all, and what several share."""


def knows_services(path: Path) -> bool:
    """Whether a file belongs to a service, or to a few of them."""
    room, *rest = path.relative_to(ROOT / PACKAGE).parts
    if room == ALONE:
        # It doubles them; its stdio server is one of them.
        return rest[0] in ("dialects", "stdio.py")
    return room == "services" and rest[0].startswith((*FAMILIES, *known_services()))


@pytest.mark.parametrize("path", each([path for path in SOURCES if not knows_services(path)]))
def test_nobody_but_a_service_itself_knows_its_name(path: Path) -> None:
    services = [get_service(name) for name in known_services() if name != "local"]
    words = {word.removesuffix(".ai") for service in services for word in (service.name, service.title)}
    named = re.compile(rf"(?<![a-z])({'|'.join(map(re.escape, words))})(?![a-z])", re.IGNORECASE)

    assert named.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", each(SOURCES))
def test_a_module_imports_nothing_from_above_and_the_local_service_stands_alone(path: Path) -> None:
    room = room_of(path)
    below = {name for name, rank in RANKS.items() if rank <= RANKS[room]} - {ALONE}

    assert own_rooms(path) <= ({ALONE} if room == ALONE else below)


@pytest.mark.parametrize("path", each([path for path in SOURCES if is_pure(path)]))
def test_a_pure_module_imports_only_python_s_own_library_and_what_checks_signatures(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(path)}

    assert roots <= {*sys.stdlib_module_names, PACKAGE, "cryptography"}


@pytest.mark.parametrize("path", each([path for path in SOURCES if room_of(path) == "transports"]))
def test_a_transport_does_not_know_airflow(path: Path) -> None:
    assert not any(name.partition(".")[0] == "airflow" for name in imported(path))
