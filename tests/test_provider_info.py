from __future__ import annotations

import importlib
import inspect
import json
from importlib.metadata import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import airflow
import jsonschema
import pytest
import yaml
from packaging.utils import canonicalize_name

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.provider_info import get_provider_info
from airflow_provider_imagetasks.services import get_service, known_services

ROOT = Path(__file__).parents[1]
AIRFLOW = Path(airflow.__file__).parent


def schema(name: str) -> dict[str, Any]:
    return dict(json.loads((AIRFLOW / name).read_text()))


def with_known_tags(info: dict[str, Any], strict: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata without tags that this Airflow's list does not have yet."""
    known = strict["properties"]["integrations"]["items"]["properties"]["tags"]["items"]["enum"]
    integrations = [{**each, "tags": [tag for tag in each["tags"] if tag in known]} for each in info["integrations"]]
    return {**info, "integrations": integrations}


def test_it_is_valid_by_the_schema_that_airflow_checks_at_every_start() -> None:
    assert jsonschema.Draft7Validator(schema("provider_info.schema.json")).is_valid(get_provider_info())


def test_it_is_valid_by_the_strict_schema_of_providers() -> None:
    strict = schema("provider.yaml.schema.json")
    info = get_provider_info()
    wanted = {"state": "ready", "lifecycle": "production", "source-date-epoch": 1767225600, "build-system": "hatchling"}
    info |= {name: value for name, value in wanted.items() if name in strict["required"]}
    for later in {"retry-policies"} - set(strict["properties"]):
        del info[later]
    for connection_type in info["connection-types"]:
        for later in ("conn-fields", "ui-field-behaviour", "hook-name", "external-services"):
            if later not in json.dumps(strict):
                del connection_type[later]

    problems = [
        error.message for error in jsonschema.Draft7Validator(strict).iter_errors(with_known_tags(info, strict))
    ]

    assert problems == []


def test_the_file_for_registries_says_the_same_and_is_valid_by_the_strict_schema() -> None:
    told = yaml.safe_load((ROOT / "provider.yaml").read_text())
    strict = schema("provider.yaml.schema.json")
    info = get_provider_info()
    (connection_type,) = told.pop("connection-types")
    only_for_registries = {"state", "lifecycle", "build-system", "source-date-epoch"}

    assert {name: value for name, value in told.items() if name not in only_for_registries} == {
        name: info[name] for name in told if name not in only_for_registries
    }
    assert connection_type.items() <= info["connection-types"][0].items()
    known = {name: value for name, value in told.items() if name in strict["properties"]}
    problems = jsonschema.Draft7Validator(strict).iter_errors(with_known_tags(known, strict))
    assert [error.message for error in problems] == []
    assert set(told) - set(known) <= {"retry-policies", "lifecycle", "state", "source-date-epoch", "build-system"}


def test_the_guides_and_the_logo_that_it_names_are_there_and_the_services_are_named() -> None:
    (integration,) = get_provider_info()["integrations"]
    (connection_type,) = get_provider_info()["connection-types"]

    for guide in integration["how-to-guide"]:
        assert (ROOT / guide.replace("/docs/airflow-provider-imagetasks/", "docs/")).is_file(), guide
    assert ElementTree.parse(ROOT / integration["logo"].lstrip("/")).getroot().tag.endswith("svg")
    assert connection_type["external-services"] == [
        get_service(name).title for name in known_services() if name != "local"
    ]


def test_the_package_name_is_the_distributions() -> None:
    info = get_provider_info()

    assert info["package-name"] == canonicalize_name(metadata("airflow-provider-imagetasks")["Name"])
    assert info["versions"] == [__version__] == [metadata("airflow-provider-imagetasks")["Version"]]


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_that_it_names_can_be_imported(kind: str) -> None:
    names = [name for entry in get_provider_info()[kind] for name in entry["python-modules"]]

    assert names
    assert all(inspect.ismodule(importlib.import_module(name)) for name in names)


def test_the_connection_type_leads_to_the_hook() -> None:
    (connection_type,) = get_provider_info()["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")

    assert getattr(importlib.import_module(module), name) is ImageTaskHook
    assert connection_type["connection-type"] == ImageTaskHook.conn_type
    assert connection_type["hook-name"] == ImageTaskHook.hook_name


def test_the_task_decorator_leads_to_a_function_that_makes_tasks() -> None:
    (decorator,) = get_provider_info()["task-decorators"]
    module, _, name = decorator["class-name"].rpartition(".")

    assert decorator["name"] == "image_batch"
    assert callable(getattr(importlib.import_module(module), name))
