from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from dev.installed_versions import deviations
from dev.version_matrix import SUITES, Outcome, Row, read_outcome, table

AIRFLOW = version("apache-airflow")
MINOR = ".".join(AIRFLOW.split(".")[:2])


def report(folder: Path, **counts: int) -> Path:
    path = folder / "report.xml"
    attributes = " ".join(f'{name}="{count}"' for name, count in counts.items())
    path.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    return path


def row(*outcomes: Outcome) -> Row:
    return Row("3.1-py3.11", "Airflow 3.1.8, Python 3.11.7", outcomes, 12.4)


def test_what_pytest_reports_is_counted(tmp_path: Path) -> None:
    path = report(tmp_path, tests=10, failures=1, errors=2, skipped=3)

    assert str(read_outcome(path, 1)) == "4 passed, 3 FAILED, 3 skipped"


@pytest.mark.parametrize(("return_code", "tests"), [(2, 5), (5, 0), (-9, 5), (1, 5)])
def test_a_run_that_ended_otherwise_is_not_good_whatever_it_reported(
    tmp_path: Path, return_code: int, tests: int
) -> None:
    assert not read_outcome(report(tmp_path, tests=tests, failures=0), return_code).is_good
    assert not read_outcome(tmp_path / "none", return_code).is_good


def test_a_suite_in_which_nothing_ran_is_not_good(tmp_path: Path) -> None:
    assert not read_outcome(report(tmp_path, tests=3, skipped=3), 0).is_good


def test_the_table_counts_the_good_environments_only() -> None:
    good, bad = Outcome(passed=5), Outcome(passed=4, failed=1)
    text = table([row(*[good] * len(SUITES)), row(good, bad), row()])

    assert text.splitlines()[-1] == "environments: 1 passed, 2 failed"
    assert "1 FAILED" in text
    assert "not run" in text


def test_the_installed_versions_are_compared_with_the_pins() -> None:
    assert not list(deviations({"apache-airflow": AIRFLOW}, airflow=MINOR))
    assert list(deviations({"apache-airflow": "3.0.1"}, airflow="3.0")) == [
        f"apache-airflow {AIRFLOW} is installed, but the constraints pin 3.0.1"
    ]


def test_another_minor_than_asked_for_is_told() -> None:
    (wrong,) = deviations({"apache-airflow": AIRFLOW}, airflow="2.11", python=None)
    assert "Airflow 2.11 was asked for" in wrong
    (wrong,) = deviations({"apache-airflow": AIRFLOW}, airflow=MINOR, python="2.7")
    assert wrong == f"Python 2.7 was asked for, but this is {platform.python_version()}"
