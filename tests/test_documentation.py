"""What the documentation shows is true: Python blocks run, tables match the code, and what is called is there."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf
from airflow.sdk import DAG, Connection

from airflow_provider_imagetasks import exceptions
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.files import object_storage as storage
from airflow_provider_imagetasks.hooks import connection_form
from airflow_provider_imagetasks.hooks.connection import account_from
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.provider_info import get_provider_info
from airflow_provider_imagetasks.services import known_services

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TARGETS = " ".join(re.findall(r"^([a-z0-9. -]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)).split()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN_AS_A_PROJECT = {"dags/kites.py", "conftest.py", "test_kites.py"}
"""Blocks that begin with a file's name: tests/local/test_pytest_plugin.py runs them together."""

NOT_RUN = {"nginx", "text"}
"""Settings and commands of programs that this project does not start, and what is no program."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    content: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def all_blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(block, id=block.name)
        for block in all_blocks()
        if block.language == language and file_name(block) is None
    ]


def file_name(block: Block) -> str | None:
    named = re.match(r"# (\S+\.py)\n", block.content)
    return named[1] if named else None


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {block.language for block in all_blocks()} <= {"python", "bash", "json", "ini", *NOT_RUN}
    assert {name for block in all_blocks() if (name := file_name(block))} == RUN_AS_A_PROJECT
    assert len(blocks("python")) > 10


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != ROOT], ids=lambda page: page.name)
def test_every_block_of_a_page_says_what_it_is(page: Path) -> None:
    fences = re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)

    assert [fence for fence in fences[::2] if not fence] == []
    assert [fence for fence in fences[1::2] if fence] == []


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs_and_its_dags_hold_together(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if "retry_policy" in block.content:
        pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="Airflow 3.3")
    # The amazon provider, for s3://, is not among the development tools.
    monkeypatch.setattr(storage, "has_fs", lambda scheme: scheme == "s3")
    namespace: dict[str, Any] = {"__name__": "a_block_of_the_documentation"}

    exec(compile("\n" * block.line + block.content, str(block.page), "exec"), namespace)

    dags = {id(value): value for value in namespace.values() if isinstance(value, DAG)}
    with_dag = "with DAG(" in block.content
    for dag in dags.values():
        assert dag.task_ids
        dag.check_cycle()
    assert with_dag or not dags


@pytest.mark.parametrize("block", blocks("json"))
def test_a_json_block_is_json(block: Block) -> None:
    json.loads(block.content)


@pytest.mark.parametrize("block", blocks("ini"))
def test_a_block_of_settings_names_options_that_there_are(block: Block) -> None:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(block.content)
    ours = get_provider_info()["config"]["imagetasks"]["options"]

    assert settings.sections()
    for section in settings.sections():
        for option in settings.options(section):
            assert option in ours if section == "imagetasks" else conf.has_option(section, option), option


@pytest.mark.parametrize("block", blocks("bash"))
def test_a_shell_block_names_what_there_is(block: Block) -> None:
    scripts = {point.name for point in distribution("airflow-provider-imagetasks").entry_points}
    for words in commands(block.content):
        match words:
            case ["make", target, *_]:
                assert target in TARGETS
            case ["git", "clone", address, "&&", "cd", folder]:
                assert address == PROJECT["urls"]["Source"]
                assert folder == PROJECT["name"]
            case ["pip", "install", package]:
                assert package == "airflow-provider-imagetasks"
            case ["airflow", subcommand]:
                assert find_spec(f"airflow.cli.commands.{subcommand}_command")
            case ["export", setting] if setting.startswith("AIRFLOW_CONN_"):
                require_a_connection(setting.partition("=")[2])
            case ["export", setting] if setting.startswith("AIRFLOW__IMAGETASKS__"):
                option = setting.partition("=")[0].removeprefix("AIRFLOW__IMAGETASKS__").lower()
                assert option in get_provider_info()["config"]["imagetasks"]["options"]
            case ["python", "-m", module, *_]:
                assert find_spec(module)
            case [script, *_]:
                assert script in scripts, f"{block.name}: what is {script}?"


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_of_the_makefile_knows_how_to_make_what_it_needs(target: str) -> None:
    plan = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)

    assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_calls_targets_that_there_are(path: Path) -> None:
    workflow = path.read_text()
    called = set(re.findall(r"\bmake ([a-z][\w.-]*)", workflow))
    called |= {name for names in re.findall(r"target: \[(.*)\]", workflow) for name in names.split(", ")}

    assert called
    assert called <= set(TARGETS)


def commands(content: str) -> Iterator[list[str]]:
    """Yield the words of each command; one goes on until its quotes are closed."""
    begun = ""
    for line in content.splitlines():
        begun += f"{line}\n"
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:
            continue
        begun = ""
        if words:
            yield words
    assert not begun, begun


def require_a_connection(value: str) -> None:
    """Fail unless the hook would take this value of an AIRFLOW_CONN_ variable."""
    connection = Connection.from_json(value, conn_id="of_the_documentation")

    assert account_from(connection, "of_the_documentation").service in known_services()


def test_the_page_of_all_settings_has_each_option_with_its_default_and_each_field_of_the_connection() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    options, _, fields = text.partition("## The connection")
    known = get_provider_info()["config"]["imagetasks"]["options"]
    shown = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|empty) \| .* \| (.*) \|$", options, re.MULTILINE)

    assert {name: default for name, default, _ in shown} == {name: option["default"] for name, option in known.items()}
    assert {name for name, _, meaning in shown if meaning.endswith(" Secret")} == {
        name for name, option in known.items() if option.get("sensitive")
    }
    fields = fields.partition("## Environment variables")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)) == sorted(connection_form.fields())


def test_the_comparison_in_the_readme_claims_no_more_than_was_measured() -> None:
    figures = (ROOT / "docs" / "performance.md").read_text()
    readme = (ROOT / "README.md").read_text()

    def claimed(words: str) -> float:
        (number,) = re.findall(rf"at least (\d+) times {words}", readme)
        return float(number)

    def share(row: str) -> float:
        (number,) = re.findall(rf"^\| {row} \| 1/([\d.]+) \|", figures, re.MULTILINE)
        return float(number)

    def row(name: str) -> list[float]:
        (cells,) = re.findall(rf"^\| {name} \| (.*) \|$", figures, re.MULTILINE)
        return [float(cell.replace("\N{NO-BREAK SPACE}", " ").split()[0]) for cell in cells.split("|")]

    ours, theirs, *_ = row("memory, net of idle triggers")
    assert claimed("fewer requests") <= share("status requests for a check, of those of the http sensor")
    assert claimed("less CPU per check") <= share("CPU for a check, of that of the http sensor")
    assert claimed("less CPU per picture") <= share("CPU for a picture by batch, of that through mapped tasks")
    assert claimed("less memory") <= theirs / ours


def test_the_table_of_errors_says_what_the_classes_do() -> None:
    text = (ROOT / "docs" / "failures.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (yes|no|perhaps|the error says) \|", text, re.MULTILINE)

    classes = {
        name: found
        for name, found in vars(exceptions).items()
        if isinstance(found, type) and issubclass(found, ImageTaskError) and found is not ImageTaskError
    }
    assert {name for name, _, _ in rows} == set(classes)
    for name, retried, billed in rows:
        assert (retried == "yes") == classes[name].default_retryable, name
        assert (
            billed
            in {"yes": ("yes",), "no": ("no",), "unknown": ("perhaps", "the error says")}[classes[name].default_billed]
        ), name


def test_the_table_of_versions_names_those_that_are_tested() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text()
    (tested,) = re.findall(r"^\| Tested with \| (.*) \|$", text, re.MULTILINE)
    (pythons,) = re.findall(r"^\| Python \| (.*) \|$", text, re.MULTILINE)
    pinned = [
        re.findall(r"^apache-airflow==(\S+)$", path.read_text(), re.MULTILINE)[0]
        for path in (
            *(ROOT / f"constraints-airflow-{minor}.txt" for minor in ("3.1", "3.2")),
            ROOT / "constraints.txt",
            ROOT / "constraints-airflow-3.4.txt",
        )
    ]
    supported = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)

    assert tested.split(" | ") == pinned
    assert set(pythons.split(" | ")) == {", ".join(supported)}
    assert f"Airflow {next(iter(re.findall(r'apache-airflow>=([0-9.]+)', str(PROJECT['dependencies']))))}" in text


def test_a_dag_that_is_shown_names_no_date_that_a_run_by_hand_lacks() -> None:
    assert [block.values[0].name for block in blocks("python") if re.search(r"{{ *ds\b", block.values[0].content)] == []


def test_the_page_on_batches_names_each_argument() -> None:
    text = (ROOT / "docs" / "batch.md").read_text().partition("## File names")[0]
    named = {
        name
        for cell in re.findall(r"^(?:\| (`[^|]+) \||\* (`\w+`):)", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", "".join(cell))
    }
    taken = inspect.signature(ImageBatchOperator.__init__).parameters

    assert named == set(taken) - {"self", "kwargs"}


def test_the_table_of_example_dags_has_each_that_ships() -> None:
    text = (ROOT / "docs" / "operators" / "index.md").read_text().partition("## Example Dags")[2]
    shipped = {
        found
        for path in (ROOT / "example_dags").glob("*.py")
        for found in re.findall(r"""(?:DAG\(|dag_id=)\s*(?:dag_id=)?"(example_\w+)\"""", path.read_text())
    }

    assert shipped
    assert set(re.findall(r"`(example_\w+)`", text)) == shipped
