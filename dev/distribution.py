"""Builds what is published into ``dist/``, checks it, and tries the wheel where nothing else of this project is.

Usage: ``make dist``. It publishes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

from dev.bare_environment import BareEnvironmentError, run_shipped_example

CHECKOUT = Path(__file__).resolve().parent.parent
DIST = CHECKOUT / "dist"
PACKAGE = "airflow_provider_imagetasks"
# Where no commit can be asked, as in an unpacked sdist: the earliest that a wheel can say, plus a day for time zones.
EARLIEST_EPOCH = 315_619_200


class DistributionError(Exception):
    """What was built must not be published; the message says why."""


def main() -> int:
    """Build, check and try; return the exit code."""
    try:
        version = source_version()
        check_stated_versions(CHECKOUT, version)
        epoch = source_date_epoch()
        built = build(CHECKOUT, DIST, epoch)
        check_versions(built, version)
        check_wheel_content(next(path for path in built if path.suffix == ".whl"))
        run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)], "twine refuses the metadata")
        check_reproducible(built, epoch)
        for path in built:
            print(f"{digest(path)}  dist/{path.name}  {path.stat().st_size:,} bytes")
        print(f"Built twice, byte for byte the same, with SOURCE_DATE_EPOCH={epoch}.", flush=True)
        run_shipped_example(next(path for path in built if path.suffix == ".whl"), CHECKOUT / "constraints.txt")
    except (DistributionError, BareEnvironmentError) as error:
        print(f"make dist: {error}", file=sys.stderr)
        return 1
    print(f"airflow-provider-imagetasks {version}: wheel and sdist in dist/ are fit to be published.")
    return 0


def source_version() -> str:
    """Return the version that the package states; everything else takes it from there."""
    found = re.findall(r'^__version__ = "(.+)"$', (CHECKOUT / PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    if len(found) != 1:
        raise DistributionError(f"{PACKAGE}/__init__.py states {len(found)} versions")
    if not re.search(rf"^## {re.escape(found[0])}\b", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE):
        raise DistributionError(f"CHANGELOG.md has no heading for {found[0]}")
    return str(found[0])


def check_stated_versions(folder: Path, version: str) -> None:
    """Hold what registries and those who cite read to the version that the package states."""
    for name, pattern in (("CITATION.cff", r"^version: (.+)$"), ("provider.yaml", r"^versions:\n  - (.+)$")):
        stated = re.findall(pattern, (folder / name).read_text(), re.MULTILINE)
        if stated != [version]:
            raise DistributionError(f"{name} says {stated}, the package says {version}")


def source_date_epoch() -> int:
    """Return ``SOURCE_DATE_EPOCH``, else the time of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    asked = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return int(asked.stdout) if asked.returncode == 0 and asked.stdout.strip() else EARLIEST_EPOCH


def build(source: Path, target: Path, epoch: int, *, umask: int = 0o022) -> list[Path]:
    """Build an sdist, and a wheel from that sdist, and return both.

    :param source: folder of the sources.
    :param target: folder for what is built; emptied of earlier builds.
    :param epoch: Unix seconds that go into the archives as the time of every file.
    :param umask: under which it is built; must change nothing.
    """
    for old in (*target.glob("*.whl"), *target.glob("*.tar.gz")):
        old.unlink()
    run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)],
        "the build failed",
        environment={"SOURCE_DATE_EPOCH": str(epoch)},
        umask=umask,
    )
    built = sorted((*target.glob("*.whl"), *target.glob("*.tar.gz")))
    if len(built) != 2:
        raise DistributionError(f"expected one wheel and one sdist, found {[path.name for path in built]}")
    return built


def check_versions(built: Sequence[Path], version: str) -> None:
    """Hold names and metadata of both archives to the version that the package states."""
    for path in built:
        stated = Parser().parsestr(read_metadata(path))["Version"]
        if stated != version or f"-{version}" not in path.name:
            raise DistributionError(f"{path.name} says {stated}, the package says {version}")


def read_metadata(path: Path) -> str:
    """Return the metadata of a wheel or an sdist."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return wheel.read(name).decode()
    with tarfile.open(path) as sdist:
        name = next(name for name in sdist.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name))
        member = sdist.extractfile(name)
        assert member is not None
        return member.read().decode()


def check_wheel_content(wheel: Path) -> None:
    """Hold the wheel to the package's own files and the example Dags, every one of them and nothing else."""
    expected = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / PACKAGE).rglob("*") if _is_source(path)}
    examples = CHECKOUT / "example_dags"
    expected |= {
        f"{PACKAGE}/{path.relative_to(CHECKOUT).as_posix()}" for path in examples.rglob("*") if _is_source(path)
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if found != expected:
        raise DistributionError(
            f"{wheel.name}: missing {sorted(expected - found)}, too much {sorted(found - expected)}"
        )


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def check_reproducible(built: Sequence[Path], epoch: int) -> None:
    """Build again from the unpacked sdist, in another folder and under another umask: the bytes must be the same."""
    with tempfile.TemporaryDirectory(prefix="distribution-") as folder:
        with tarfile.open(next(path for path in built if path.name.endswith(".tar.gz"))) as sdist:
            sdist.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        again = build(source, Path(folder) / "dist", epoch, umask=0o077)
        for first, second in zip(built, again, strict=True):
            if first.name != second.name or digest(first) != digest(second):
                raise DistributionError(f"{first.name} built a second time is {second.name} with other bytes")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(command: Sequence[str], failure: str, *, environment: dict[str, str] | None = None, umask: int = -1) -> None:
    """Run a command silently; its output is part of the error when it fails."""
    finished = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **(environment or {})},
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise DistributionError(f"{failure}:\n{finished.stdout}")


if __name__ == "__main__":
    sys.exit(main())
