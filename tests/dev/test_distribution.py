from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dev.distribution import (
    CHECKOUT,
    PACKAGE,
    DistributionError,
    check_stated_versions,
    check_versions,
    check_wheel_content,
    source_version,
)


def wheel(folder: Path, version: str, *names: str, stated: str | None = None) -> Path:
    path = folder / f"{PACKAGE}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{PACKAGE}-{version}.dist-info/METADATA", f"Name: x\nVersion: {stated or version}\n")
        for name in names:
            archive.writestr(name, "")
    return path


def sdist(folder: Path, version: str) -> Path:
    path = folder / f"{PACKAGE}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(f"{PACKAGE}-{version}/PKG-INFO")
        content = f"Name: x\nVersion: {version}\n".encode()
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def shipped() -> list[str]:
    """Return what the wheel must hold."""
    files = [path for folder in (PACKAGE, "example_dags") for path in (CHECKOUT / folder).rglob("*") if path.is_file()]
    names = [path.relative_to(CHECKOUT).as_posix() for path in files if "__pycache__" not in path.parts]
    return [name if name.startswith(PACKAGE) else f"{PACKAGE}/{name}" for name in names]


def test_the_version_stands_in_the_package_and_the_change_log() -> None:
    assert source_version()


def test_what_registries_and_citations_read_says_the_same_version(tmp_path: Path) -> None:
    check_stated_versions(CHECKOUT, source_version())
    (tmp_path / "CITATION.cff").write_text("version: 1.0.0\n")
    (tmp_path / "provider.yaml").write_text("versions:\n  - 0.9.0\n")

    with pytest.raises(DistributionError, match=r"provider\.yaml says \['0\.9\.0'\]"):
        check_stated_versions(tmp_path, "1.0.0")


def test_archives_of_another_version_are_refused(tmp_path: Path) -> None:
    check_versions([wheel(tmp_path, "1.2.3"), sdist(tmp_path, "1.2.3")], "1.2.3")
    with pytest.raises(DistributionError, match=r"says 1\.2\.2"):
        check_versions([wheel(tmp_path, "1.2.3", stated="1.2.2")], "1.2.3")
    with pytest.raises(DistributionError, match=r"the package says 1\.2\.4"):
        check_versions([sdist(tmp_path, "1.2.3")], "1.2.4")


def test_a_wheel_holds_the_package_and_the_examples_and_nothing_else(tmp_path: Path) -> None:
    check_wheel_content(wheel(tmp_path, "1", *shipped()))
    with pytest.raises(DistributionError, match=r"too much \['tests/test_x.py'\]"):
        check_wheel_content(wheel(tmp_path, "2", *shipped(), "tests/test_x.py"))
    without_examples = [name for name in shipped() if "example_dags" not in name]
    with pytest.raises(DistributionError, match=r"missing .*example_image_task"):
        check_wheel_content(wheel(tmp_path, "3", *without_examples))
