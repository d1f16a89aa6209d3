"""What the provider tells Airflow of itself, through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.hooks import connection_form

_INTEGRATION = "Image tasks"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata. Airflow validates it at every start; an invalid one stops every command."""
    return {
        "package-name": "airflow-provider-imagetasks",
        "name": "Image tasks",
        "description": "Image-generation services that work by task: submit, wait without a worker, download.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://github.com/airflow-provider-imagetasks/airflow-provider-imagetasks",
                "tags": ["service"],
            }
        ],
        "hooks": _modules("hooks.image_task"),
        "operators": _modules("operators.image_task", "operators.image_batch"),
        "sensors": _modules("sensors.image_task"),
        "triggers": _modules("triggers.image_task", "triggers.image_batch"),
        "task-decorators": [
            {
                "name": "image_batch",
                "class-name": f"{__package__}.decorators.image_batch.image_batch_task",
            }
        ],
        "extra-links": [
            "airflow_provider_imagetasks.links.image_task.PicturesLink",
            "airflow_provider_imagetasks.links.image_task.ServiceConsoleLink",
        ],
        "config": {
            "imagetasks": {
                "description": "Settings of the image tasks provider.",
                "options": {
                    "ledger_path": {
                        "description": (
                            "Folder for the records of submissions, on any object storage that all workers share. "
                            "Needed only before Airflow 3.3, which keeps them itself: with it, a submission that was "
                            "cut off is found again by a retry, and not paid for twice."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://conn_id@bucket/imagetasks-ledger",
                        "default": "",
                    },
                    "callback_base_url": {
                        "description": (
                            "Where services reach this Airflow from outside, to be called back when an image task is "
                            "done. With callback_secret it turns callbacks on; they only make polling faster."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "https://airflow.example.com",
                        "default": "",
                    },
                    "callback_secret": {
                        "description": "What callback URLs are signed with; the same on workers and api-servers.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "sensitive": True,
                        "example": None,
                        "default": "",
                    },
                    "gallery_roots": {
                        "description": (
                            "Folders whose pictures the Airflow UI shows to users who may read the XComs of the Dag, "
                            "as URIs separated by commas. The api-server reads them, with the connection that the root "
                            "names. Empty: pictures are listed, and not shown."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://conn_id@bucket/pictures, file:///data/pictures",
                        "default": "",
                    },
                    "allow_stdio_commands": {
                        "description": (
                            "Whether a connection may say, in its extra field 'command', which MCP server is started "
                            "on a worker. Whoever may edit connections can then run any command there."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    },
                },
            },
        },
        "connection-types": [
            {
                "connection-type": "imagetasks",
                "hook-class-name": "airflow_provider_imagetasks.hooks.image_task.ImageTaskHook",
                "hook-name": connection_form.HOOK_NAME,
                "ui-field-behaviour": connection_form.metadata_behaviour(),
                "conn-fields": connection_form.fields(),
            }
        ],
    }


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": [f"{__package__}.{name}" for name in names]}]
