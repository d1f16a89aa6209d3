"""The shipped fixture, as a project finds it that has nothing but docs/testing.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.pytest_project import pytest_in


def test_a_connection_says_which_service_and_where(image_service: LocalImageService) -> None:
    connection = json.loads(image_service.connection("kie", max_active_tasks=2))

    assert (connection["conn_type"], connection["host"]) == ("imagetasks", f"{image_service.url}/kie")
    assert connection["extra"] == {"service": "kie", "max_active_tasks": 2}
    with pytest.raises(ValueError, match=r"'dalle'; known are local, acedatacloud"):
        image_service.connection("dalle")


def test_what_one_test_did_the_next_does_not_see_and_a_fixture_of_the_same_name_wins(tmp_path: Path) -> None:
    one = (
        "import json, urllib.request\n"
        "def test_{}(image_service):\n"
        "    assert image_service.tasks == []\n"
        "    request = urllib.request.Request(\n"
        "        image_service.url + '/acedatacloud/openai/images/generations', method='POST',\n"
        "        data=json.dumps({{'prompt': 'kite', 'model': 'm', 'async': True}}).encode(),\n"
        "        headers={{'Content-Type': 'application/json'}})\n"
        "    urllib.request.urlopen(request).read()\n"
        "    assert len(image_service.tasks) == 1\n"
    )
    (tmp_path / "test_two.py").write_text(one.format("first") + one.format("second"))
    own = "import pytest\n@pytest.fixture\ndef image_service():\n    return 'mine'\n"
    (tmp_path / "test_own.py").write_text(own + "def test_it(image_service):\n    assert image_service == 'mine'\n")

    assert "3 passed" in pytest_in(tmp_path)
