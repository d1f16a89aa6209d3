"""The Dags that a newcomer meets first run as they stand, and so does the project that docs/testing.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pytest_project import documented_files, pytest_in

ROOT = Path(__file__).parents[1]
PAGES = {"readme": ROOT / "README.md", "quick_start": ROOT / "docs" / "quick-start.md"}
DAG = re.compile(r"^with DAG\((.*?)\)(?: as dag)?:$", re.DOTALL | re.MULTILINE)
STARTED_BY_HAND = """
import importlib
from pathlib import Path

import pytest

PICTURES = Path(__file__).parent / "pictures"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_without_a_logical_date_stores_pictures(name, monkeypatch, image_service):
    monkeypatch.setenv("AIRFLOW_CONN_IMAGETASKS_DEFAULT", image_service.connection("local"))
    before = len(list(PICTURES.rglob("*.png")))

    run = importlib.import_module(f"dags.{name}").dag.test(logical_date=None)

    assert run.logical_date is None
    assert run.state == "success"
    assert len(list(PICTURES.rglob("*.png"))) > before
"""


def dag_of(page: Path) -> str:
    """Return the source of the Dag that a page shows, under a name that a test can ask for."""
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    (source,) = (block for block in blocks if DAG.search(block))
    return DAG.sub(r"with DAG(\1) as dag:", source)


@pytest.mark.system
@pytest.mark.timeout(600)
def test_they_make_their_pictures(tmp_path: Path) -> None:
    files = documented_files()
    assert list(files) == ["dags/kites.py", "conftest.py", "test_kites.py"]
    for name, page in PAGES.items():
        files[f"dags/{name}.py"] = dag_of(page).replace("file:///tmp/", f"file://{tmp_path}/pictures/")
    files["test_started_by_hand.py"] = STARTED_BY_HAND.replace("NAMES", repr(list(PAGES)))
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)

    output = pytest_in(tmp_path)

    assert "4 passed" in output, output
