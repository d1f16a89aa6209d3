"""Imports go one way: a module imports from its own layer and from those below, never from above."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "airflow_provider_imagetasks"
ROOT = Path(__file__).parents[1]

# From the bottom to the top; an entry stands for the module and everything inside it.
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vocabulary", ("exceptions", "tasks", "rates", "pacing", "connection_fields", "account")),
    ("identities", ("inline_ids", "identity", "references")),
    ("services", ("services",)),
    ("waiting", ("polling_schedule", "submission_limits", "wait_log", "waiting")),
    ("transport", ("redaction", "environment", "connection_failures", "transport")),
    ("transport by service", ("tool_servers", "account_transport")),
    ("metrics", ("metrics",)),
    ("poller", ("account_session", "polled_waits", "poller")),
    ("pictures", ("pictures", "storage", "input_images", "downloads")),
    ("what others are told of pictures", ("assets", "lineage")),
    ("ledger", ("ledger",)),
    ("batch", ("batch",)),
    ("what Airflow says and is told", ("connections", "airflow_errors", "retry_policy", "callback_urls")),
    ("hooks", ("hooks",)),
    ("triggers", ("triggers",)),
    ("what leads from a task to its pictures", ("links",)),
    ("what stands in Dags", ("operators", "sensors", "decorators")),
    ("what Airflow is told of the package", ("provider_info",)),
    ("what people see", ("ui",)),
)
PURE_LAYERS = ("vocabulary", "identities", "services", "waiting")
WITHOUT_AIRFLOW = (*PURE_LAYERS, "transport", "transport by service")
# The local service is a program of its own, which only tests and the demonstration use; its fixture goes with it.
ALONE = "local"
FIXTURE = "pytest_plugin"

RANKS = {name: rank for rank, (_layer, names) in enumerate(LAYERS) for name in names}
SOURCES = sorted(
    path for path in (ROOT / PACKAGE).rglob("*.py") if path.relative_to(ROOT / PACKAGE).parts != ("__init__.py",)
)


def part_of(path: Path) -> str:
    """Return the entry of the table that a file belongs to."""
    return path.relative_to(ROOT / PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(path: Path) -> set[str]:
    """Return the entries of the table that a file imports from; names of the package itself have none."""
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1} - {"__version__"}


def each(*layers: str) -> list[object]:
    """Return the files of these layers as parameters, of all layers where none is named."""
    chosen = {name for layer, names in LAYERS if layer in layers or not layers for name in names}
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in SOURCES if part_of(path) in chosen]


def test_every_module_stands_in_the_table_of_layers() -> None:
    assert {part_of(path) for path in SOURCES} <= {*RANKS, ALONE, FIXTURE}


@pytest.mark.parametrize("path", each())
def test_a_module_imports_nothing_from_above(path: Path) -> None:
    rank = RANKS[part_of(path)]

    above = {name for name in own_parts(path) if RANKS.get(name, len(LAYERS)) > rank}

    assert not above


def test_the_local_service_stands_alone() -> None:
    for path in SOURCES:
        parts = own_parts(path)
        assert parts <= {ALONE} if part_of(path) in (ALONE, FIXTURE) else ALONE not in parts, path


@pytest.mark.parametrize("path", each(*PURE_LAYERS))
def test_a_pure_module_imports_only_python_s_own_library(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(path)}

    assert roots <= {*sys.stdlib_module_names, PACKAGE}


@pytest.mark.parametrize("path", each(*WITHOUT_AIRFLOW))
def test_a_protocol_does_not_know_airflow(path: Path) -> None:
    assert not any(name.partition(".")[0] == "airflow" for name in imported(path))
