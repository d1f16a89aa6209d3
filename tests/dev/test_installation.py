from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dev import installation

PIP = """
for name in ("requests>=2.32", "yarl==1.0"):
    print(f"Collecting {name}")
print("Installing collected packages: %s")
raise SystemExit(%d)
"""


def install(
    tmp_path: Path, exit_code: int, packages: str = "yarl, requests"
) -> tuple[subprocess.CompletedProcess[str], str]:
    log = tmp_path / "install.log"
    # By its path and alone, as the Makefile runs it before anything is installed.
    command = [sys.executable, "-I", installation.__file__, str(log), sys.executable, "-c", PIP % (packages, exit_code)]
    return subprocess.run(command, capture_output=True, text=True, check=False), log.read_text()


def test_it_says_how_far_it_is_and_keeps_the_output_in_a_file(tmp_path: Path) -> None:
    finished, log = install(tmp_path, 0)

    assert finished.returncode == 0
    assert "installing 2 packages" in finished.stdout
    assert "Collecting" not in finished.stdout + finished.stderr
    assert "Collecting requests>=2.32" in log


def test_one_package_is_one_package(tmp_path: Path) -> None:
    finished, _ = install(tmp_path, 0, packages="airflow-provider-imagetasks")

    assert "installing 1 package\n" in finished.stdout


def test_an_installation_that_failed_shows_all_its_output_and_keeps_its_exit_code(tmp_path: Path) -> None:
    finished, log = install(tmp_path, 3)

    assert finished.returncode == 3
    assert log in finished.stderr
