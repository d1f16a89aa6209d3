"""Writes the constraints files: sets of pins, each of which fits every supported Python.

Usage: python dev/compile_constraints.py PATH_OF_UV. Nothing else in this project needs uv.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
# Of the newest no test has run yet: the pins fit it, and CI tries it without letting it hold anything up.
PYTHON_VERSIONS = ("3.11", "3.12", "3.13", "3.14")
NEWEST_AIRFLOW = "3.3.2"
# An older Airflow does not cap what it depends on, so its set stops some weeks after its release.
OLDER_AIRFLOWS = {"3.1": ("3.1.8", "2026-06-15"), "3.2": ("3.2.2", "2026-06-15")}
# Named with its parts, since a pre-release of what is not named is not taken. Newer than all of its dependencies.
PRE_RELEASE = {"apache-airflow": "3.4.0b2", "apache-airflow-core": "3.4.0b2", "apache-airflow-task-sdk": "1.4.0b2"}
# The same tests run on every Airflow, so the same tools run them, whatever their date.
TEST_TOOLS = ("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist")

# The package asks for the SDK's second major version, which is younger than the older Airflows.
MCP_SDK = ("httpcore2", "httpx2", "mcp", "mcp-types", "truststore")
# May be as young, but which version fits is up to the Starlette of each Airflow.
YOUNG_DEPENDENCIES = ("sse-starlette",)


def compile_pins(
    uv: str,
    airflow: str,
    python_version: str,
    known_pins: dict[str, str],
    *,
    extras: Sequence[str],
    newest_upload: str | None,
) -> dict[str, str]:
    """Resolve the package with these extras for one Python, keeping to the pins already known."""
    constraints = [f"apache-airflow=={airflow}", *(f"{name}=={pin}" for name, pin in known_pins.items())]
    command = [uv, "pip", "compile", "pyproject.toml", "--quiet"]
    command += [option for extra in extras for option in ("--extra", extra)]
    command += ["--python-version", python_version, "--no-header", "--no-annotate", "--no-emit-index-url"]
    command += ["--no-emit-find-links", "--constraint", "-"]
    if newest_upload is not None:
        command += ["--exclude-newer", newest_upload]
        for name in (*TEST_TOOLS, *MCP_SDK, *YOUNG_DEPENDENCIES):
            command += ["--exclude-newer-package", f"{name}=2100-01-01"]
    finished = subprocess.run(
        command, input="\n".join(constraints), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    )
    lines = (line.strip() for line in finished.stdout.splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith(("#", "-")))


def compile_constraints(
    uv: str,
    airflow: str,
    known_pins: dict[str, str],
    *,
    extras: Sequence[str] = ("dev",),
    newest_upload: str | None = None,
) -> dict[str, str]:
    """Return the union of the pins for every supported Python."""
    pins = dict(known_pins)
    for python_version in PYTHON_VERSIONS:
        pins |= compile_pins(uv, airflow, python_version, pins, extras=extras, newest_upload=newest_upload)
    return pins


def write_constraints(path: Path, pins: dict[str, str]) -> None:
    """Write one constraints file."""
    path.write_text("".join(f"{name}=={pin}\n" for name, pin in sorted(pins.items())))


def main() -> None:
    """Write every constraints file of the checkout."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    uv = sys.argv[1]
    # The benchmark, the browser and the cluster run on the newest Airflow only.
    newest = compile_constraints(uv, NEWEST_AIRFLOW, {}, extras=("dev", "bench", "ui"))
    write_constraints(CHECKOUT / "constraints.txt", newest)
    # Apart from the others, since the S3 server needs older versions of what Airflow itself has newer.
    cluster = compile_constraints(uv, NEWEST_AIRFLOW, {}, extras=("dev", "cluster"))
    write_constraints(CHECKOUT / "constraints-cluster.txt", cluster)
    # Likewise, since Sphinx wants an older docutils than the development tools.
    docs = compile_constraints(uv, NEWEST_AIRFLOW, {}, extras=("docs",))
    write_constraints(CHECKOUT / "constraints-docs.txt", docs)
    tools = {name: newest[name] for name in (*TEST_TOOLS, *MCP_SDK)}
    for minor, (airflow, newest_upload) in OLDER_AIRFLOWS.items():
        pins = compile_constraints(uv, airflow, tools, newest_upload=newest_upload)
        write_constraints(CHECKOUT / f"constraints-airflow-{minor}.txt", pins)
    pins = compile_constraints(uv, PRE_RELEASE["apache-airflow"], tools | PRE_RELEASE)
    write_constraints(CHECKOUT / "constraints-airflow-3.4.txt", pins)


if __name__ == "__main__":
    main()
