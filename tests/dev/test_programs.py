from __future__ import annotations

from pathlib import Path

import pytest

from dev.programs import MissingProgramError, find_program


def install(folder: Path, name: str = "database") -> Path:
    folder.mkdir(parents=True)
    path = folder / name
    path.touch(mode=0o755)
    return path


def test_a_program_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = install(tmp_path / "on-path")
    install(tmp_path / "lib" / "15" / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))

    assert find_program("database", f"{tmp_path}/lib/*/bin", package="p") == found


def test_else_the_newest_version_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    install(tmp_path / "lib" / "9" / "bin")
    newest = install(tmp_path / "lib" / "15" / "bin")

    assert find_program("database", f"{tmp_path}/lib/*/bin", package="p") == newest


def test_a_missing_program_is_named_with_the_package_that_has_it() -> None:
    with pytest.raises(MissingProgramError, match=r"no-such-database is not on the PATH.*apt-get install a-database"):
        find_program("no-such-database", package="a-database")
