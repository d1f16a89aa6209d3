from __future__ import annotations

import importlib
import inspect
import json
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from packaging.utils import canonicalize_name

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.provider_info import get_provider_info

AIRFLOW = Path(airflow.__file__).parent


def schema(name: str) -> dict[str, Any]:
    return dict(json.loads((AIRFLOW / name).read_text()))


def test_it_is_valid_by_the_schema_that_airflow_checks_at_every_start() -> None:
    assert jsonschema.Draft7Validator(schema("provider_info.schema.json")).is_valid(get_provider_info())


def test_it_is_valid_by_the_strict_schema_of_providers() -> None:
    strict = schema("provider.yaml.schema.json")
    info = get_provider_info()
    wanted = {"state": "ready", "lifecycle": "production", "source-date-epoch": 1767225600, "build-system": "hatchling"}
    info |= {name: value for name, value in wanted.items() if name in strict["required"]}
    for connection_type in info["connection-types"]:
        for later in ("conn-fields", "ui-field-behaviour", "hook-name"):
            if later not in json.dumps(strict):
                del connection_type[later]

    problems = [error.message for error in jsonschema.Draft7Validator(strict).iter_errors(info)]

    assert problems == []


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
