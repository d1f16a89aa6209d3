"""What the provider tells Airflow of itself, through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

import contextlib
from typing import Any

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.hooks import connection_form
from airflow_provider_imagetasks.services import get_service, known_services

_INTEGRATION = "Image tasks"
_GUIDES = ("quick-start", "which-way", "operators/index", "batch", "services/index")


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata. Airflow validates it at every start; an invalid one stops every command."""
    address = "https://github.com/airflow-provider-imagetasks/airflow-provider-imagetasks"
    behaviour = {name.replace("_", "-"): value for name, value in connection_form.BEHAVIOUR.items()}
    return {
        "package-name": "airflow-provider-imagetasks",
        "name": "Image tasks",
        "description": "Image-generation services that work by task: submit, wait without a worker, download.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": address,
                "how-to-guide": [f"/docs/airflow-provider-imagetasks/{page}.md" for page in _GUIDES],
                "logo": "/docs/integration-logos/imagetasks.svg",
                "tags": ["ai", "ai-inference", "generative-ai", "service"],
            }
        ],
        "hooks": _modules("hooks.image_task"),
        "operators": _modules("operators.image_task", "operators.image_batch"),
        "sensors": _modules("sensors.image_task"),
        "triggers": _modules("triggers.image_task", "triggers.image_batch"),
        "retry-policies": _modules("operators.retry_policy"),
        "task-decorators": [
            {"name": "image_batch", "class-name": f"{__package__}.decorators.image_batch.image_batch_task"}
        ],
        "extra-links": [f"{__package__}.hooks.links.{name}" for name in ("PicturesLink", "ServiceConsoleLink")],
        "config": {"imagetasks": {"description": "Settings of the image tasks provider.", "options": _options()}},
        "connection-types": [
            {
                "connection-type": "imagetasks",
                "hook-class-name": "airflow_provider_imagetasks.hooks.image_task.ImageTaskHook",
                "hook-name": connection_form.HOOK_NAME,
                "external-services": _external_services(),
                "ui-field-behaviour": behaviour,
                "conn-fields": connection_form.fields(),
            }
        ],
    }


def _external_services() -> list[str]:
    """Return the names of the services that a connection may lead to."""
    titles = []
    for name in known_services():
        # Whatever somebody's package does: the connection form tells of it.
        with contextlib.suppress(Exception):
            titles += [] if name == "local" else [get_service(name).title]
    return titles


def _options() -> dict[str, dict[str, Any]]:
    return {
        "ledger_path": _option(
            "Folder for the records of submissions, on any object storage that all workers share. Set it before "
            "Airflow 3.3: without it, an interrupted submission may be paid for twice. On Airflow 3.4 it holds a copy "
            "of the records that survives every Clear.",
            example="s3://conn_id@bucket/imagetasks-ledger",
        ),
        "account_store": _option(
            "Database in which all processes keep an account's rates, running image tasks and spending, as an "
            "SQLAlchemy URL. Empty: a SQLite file in AIRFLOW_HOME, for Airflow on one machine. Several machines need "
            "a PostgreSQL database that all of them can reach. 'none': each process counts separately.",
            example="postgresql+psycopg2://user:password@host/imagetasks",
            sensitive=True,
            version_added="0.2.0",
        ),
        "callback_base_url": _option(
            "Address under which services can call this Airflow when an image task is done. Together with "
            "callback_secret it turns on callbacks, which only shorten the wait.",
            example="https://airflow.example.com",
        ),
        "callback_secret": _option(
            "Secret that callback URLs are signed with; the same on workers, triggerers and api-servers.",
            sensitive=True,
        ),
        "gallery_roots": _option(
            "Folders whose pictures the Airflow UI shows to users who may read the XComs of the Dag, as URIs separated "
            "by commas; each can be limited to Dags with certain names. The api-server reads them with the "
            "connection that the root names. Empty: pictures are listed but not shown.",
            example="s3://conn_id@bucket/pictures, catalogue_*=file:///data/catalogue",
        ),
        "gallery_dag_tags": _option(
            "Tags of the Dags on which the Airflow UI shows the Pictures tab and the newest pictures, separated by "
            "commas. Empty, and before Airflow 3.4: all Dags. The page of all pictures always shows all Dags.",
            example="imagetasks",
            version_added="0.2.0",
        ),
        "allow_stdio_commands": _option(
            "Whether a connection may name a command (extra field 'command') that starts an MCP server on a worker. "
            "Anyone who may edit connections can then run any command there.",
            type="boolean",
            default="False",
        ),
    }


def _option(description: str, **facts: Any) -> dict[str, Any]:
    usual = {"version_added": "0.1.0", "type": "string", "example": None, "default": ""}
    return {"description": description, **usual, **facts}


def _modules(*names: str) -> list[dict[str, Any]]:
    return [{"integration-name": _INTEGRATION, "python-modules": [f"{__package__}.{name}" for name in names]}]
