"""The wheel in an environment where nothing else of this project is: one shipped example runs from it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from dev.local_image_service import LocalImageServiceProcess

BUNDLE = "airflow-provider-imagetasks-example-dags"
DAG_ID = "example_image_task"
PACKAGE = "airflow_provider_imagetasks"
STEP_TIMEOUT = 300
# What pip is told by the machine stays; what would bring another Python's packages does not.
PYTHON_SETTINGS = re.compile(r"PYTHON|VIRTUAL_ENV|CONDA|AIRFLOW|_AIRFLOW|PIP_(CONSTRAINT|PREFIX|TARGET|USER|REQUIRE)")


class BareEnvironmentError(Exception):
    """The wheel does not work where only it is installed; the message says at which step."""


def run_shipped_example(wheel: Path, constraints: Path) -> None:
    """Install the wheel with Airflow, let Airflow find its example Dags by itself, and run one of them.

    The environment has an empty home folder, no active virtual environment and no ``PYTHONPATH``, and is used from
    outside the checkout. The picture comes from the local image service of the same wheel.

    :param wheel: what was built.
    :param constraints: the pins under which Airflow is installed.
    :raises BareEnvironmentError: a step failed, or the picture is not there.
    """
    with tempfile.TemporaryDirectory(prefix="bare-") as name:
        folder = Path(name)
        home, pictures = folder / "home", folder / "pictures"
        home.mkdir()
        environment = folder / "environment"
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        python = str(environment / "bin" / "python")
        installing = {key: value for key, value in os.environ.items() if not PYTHON_SETTINGS.match(key)}
        _step([str(base), "-m", "venv", str(environment)], installing, folder)
        _step(
            [python, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), str(wheel)],
            installing,
            folder,
        )

        bare = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        origin = _step([python, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"], bare, folder).strip()
        if not Path(origin).is_relative_to(environment):
            raise BareEnvironmentError(f"the package was imported from {origin}, not from the wheel")
        with LocalImageServiceProcess(latency="1", python=python, folder=folder, environment=bare) as service:
            running = {
                **bare,
                "AIRFLOW_CONN_IMAGETASKS_DEFAULT": service.connection("local"),
                "IMAGETASKS_EXAMPLE_OUTPUT": f"file://{pictures}",
                "NO_PROXY": "127.0.0.1,localhost",
            }
            _step(["airflow", "db", "migrate"], running, folder)
            print(f"Bare environment: airflow dags test --bundle-name {BUNDLE} {DAG_ID}", flush=True)
            log = _step(["airflow", "dags", "test", "--bundle-name", BUNDLE, DAG_ID], running, folder)
            submitted = service.stats()["created"]
        _check(log, pictures, submitted)


def _check(log: str, pictures: Path, submitted: Sequence[Mapping[str, object]]) -> None:
    found = [path for path in pictures.rglob("*") if path.is_file()]
    if len(found) != 1 or len(submitted) != 1:
        raise BareEnvironmentError(
            f"{len(submitted)} submissions, {len(found)} pictures, expected one each:\n{log[-5000:]}"
        )
    with Image.open(found[0]) as picture:
        picture.load()
        print(f"One submission, one picture: {found[0].name}, {picture.format} {picture.width}x{picture.height}")


def _step(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> str:
    """Run one command and return what it printed."""
    program = command[0]
    if "/" not in program:
        program = f"{environment['PATH'].partition(':')[0]}/{program}"
    finished = subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_TIMEOUT,
        check=False,
    )
    if finished.returncode != 0:
        raise BareEnvironmentError(f"{' '.join(command)} failed ({finished.returncode}):\n{finished.stdout[-8000:]}")
    return finished.stdout
