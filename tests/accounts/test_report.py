"""The look at the store of accounts that needs no Airflow: what it makes of a store that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_imagetasks.accounts.__main__ import main


def test_a_look_at_a_store_that_is_not_there_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", f"sqlite:///{tmp_path}/new.sqlite"]) == 1

    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()


@pytest.mark.parametrize("days", ["0", "-1", "x", "1000000000000"])
def test_days_that_make_no_sense_are_refused(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--days", days])
    assert "--days" in capsys.readouterr().err
