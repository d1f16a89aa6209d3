"""The connection form in the Airflow UI, written once for both ways in which Airflow reads it.

Airflow 3.2 and newer read provider metadata; 3.1 calls two methods of the hook.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.services import known_services

HOOK_NAME = "Image tasks"

_HIDDEN = ["login", "port", "schema"]
_RELABELING = {"password": "API key", "host": "Base URL"}
_PLACEHOLDERS = {
    "password": "the service's API key",
    "host": "empty: the service's own address",
    "service": "acedatacloud",
    "submit_rate": "20/10s",
    "query_rate": "2/s",
    "poll_interval": "10",
    "request_timeout": "60",
    "callback_url": "https://example.com/hook",
}


def _field(label: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema}


def fields() -> dict[str, dict[str, Any]]:
    """Return the extra fields in the metadata's form: name, label, help text and JSON schema."""
    services = known_services()
    return {
        "service": _field(
            "Service",
            "Which image service this account is at.",
            {"type": "string", "enum": list(services), "default": services[0]},
        ),
        "default_model": _field(
            "Default model",
            "Model for requests that name none. Empty: the service's default.",
            {"type": ["string", "null"]},
        ),
        "poll_interval": _field(
            "Poll interval (s)",
            "Seconds between two status requests for an image task. Empty: the service's default.",
            {"type": ["number", "null"], "minimum": 1},
        ),
        "request_timeout": _field(
            "Request timeout (s)",
            "Seconds that one API request may take. Empty: 60.",
            {"type": ["number", "null"], "minimum": 1},
        ),
        "callback_url": _field(
            "Callback URL",
            "URL of your own that the service calls when an image task is done. Not needed: waiting polls.",
            {"type": ["string", "null"]},
        ),
        "webhook_secret": _field(
            "Webhook secret (kie.ai)",
            "The key by which kie.ai signs callbacks, if one is enabled there.",
            {"type": ["string", "null"], "format": "password"},
        ),
        "submit_rate": _field(
            "Submit rate",
            "At most so many submissions, like 20/10s, or a tier like aigptimage:free.",
            {"type": ["string", "null"]},
        ),
        "query_rate": _field(
            "Query rate",
            "At most so many status requests, like 2/s, or a tier like aigptimage:free.",
            {"type": ["string", "null"]},
        ),
        "max_active_tasks": _field(
            "Max. active image tasks",
            "How many image tasks of this account may run at the same time.",
            {"type": ["integer", "null"], "minimum": 1},
        ),
        "download_hosts": _field(
            "Download hosts",
            "Hosts that results may come from, separated by commas. Empty: any public host.",
            {"type": ["string", "null"]},
        ),
        "allow_private_hosts": _field(
            "Allow private hosts",
            "Allow results from private addresses, and a Base URL with plain http inside your own network.",
            {"type": ["boolean", "null"], "default": False},
        ),
        "verify": _field(
            "Verify TLS",
            "true, false, or the path of a CA bundle. Empty: true.",
            {"type": ["string", "null"]},
        ),
        "trust_env": _field(
            "Use the environment's proxies",
            "Take proxies and CA bundle from the environment's variables.",
            {"type": ["boolean", "null"], "default": True},
        ),
        "output_dir": _field(
            "MCP: output folder",
            "GPT-Image MCP server: the folder in which it writes its pictures, as the server names it.",
            {"type": ["string", "null"]},
        ),
        "path_map": _field(
            "MCP: path map",
            'Where workers find the server\'s folders, as JSON: {"/srv/images": "/mnt/images"}.',
            {"type": ["string", "null"]},
        ),
        "command": _field(
            "MCP: command",
            "Starts the MCP server over stdio for one batch; only where [imagetasks] allow_stdio_commands is true.",
            {"type": ["string", "null"]},
        ),
        "args": _field(
            "MCP: arguments",
            'Arguments of the command, as JSON: ["dist/index.js"].',
            {"type": ["string", "null"]},
        ),
        "env": _field(
            "MCP: environment",
            "Environment of the command, as JSON. The API key above is handed over as OPENAI_API_KEY.",
            {"type": ["string", "null"]},
        ),
    }


def metadata_behaviour() -> dict[str, Any]:
    """Return hidden fields, labels and placeholders in the metadata's form."""
    return {"hidden-fields": _HIDDEN, "relabeling": _RELABELING, "placeholders": _PLACEHOLDERS}


def field_behaviour() -> dict[str, Any]:
    """Return hidden fields, labels and placeholders in the form of a hook's method."""
    return {"hidden_fields": _HIDDEN, "relabeling": _RELABELING, "placeholders": _PLACEHOLDERS}


def widgets() -> dict[str, Any]:
    """Return the extra fields in the form of a hook's method, with the field classes that Airflow 3.1 knows.

    :raises ImportError: outside Airflow 3.1's form service, where the libraries of the old forms are not installed.
    """
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional, any_of

    classes = {"boolean": BooleanField, "integer": IntegerField}
    made = {}
    for name, definition in fields().items():
        schema = definition["schema"]
        kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
        choices = schema.get("enum")
        made[name] = classes.get(kind, StringField)(
            definition["label"],
            validators=[any_of(choices)] if choices else [Optional()],
            description=definition["description"],
            default=schema.get("default"),
        )
    return made
