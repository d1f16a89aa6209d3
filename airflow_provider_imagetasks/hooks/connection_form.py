"""The connection form in the Airflow UI, written once for both ways in which Airflow reads it.

Airflow 3.2 and newer read provider metadata; 3.1 calls two methods of the hook.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.account_fields import ConnectionField

_log = logging.getLogger(__name__)
HOOK_NAME = "Image tasks"
BEHAVIOUR: dict[str, Any] = {
    # Port is shown, since the Test button of Airflow 3.3 refuses saved connections without one.
    "hidden_fields": ["login", "schema"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {
        "password": "the service's API key; choose the Service below, under Extra Fields",
        "host": "empty: the service's own address",
        "port": "empty; 443 where Test says Bad Request",
        "service": known_services()[0],
        "submit_rate": "20/10s",
        "query_rate": "2/s",
        "budget_per_day": "20.00 USD",
        "budget_per_month": "300.00 USD",
        "poll_interval": "10",
        "request_timeout": "60",
        "callback_url": "https://example.com/hook",
    },
}
"""Hidden fields, labels and placeholders, as a hook's method names them; the metadata writes the names with hyphens."""
_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_SECONDS: dict[str, Any] = {"type": ["number", "null"], "minimum": 1}


def _field(label: str, description: str, schema: dict[str, Any] = _TEXT) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": dict(schema)}


_FIELDS = {
    "default_model": _field("Default model", "Model for requests that name none. Empty: the service's default."),
    "poll_interval": _field(
        "Poll interval (s)",
        "Seconds between two status requests for an image task. Empty: the service's default.",
        _SECONDS,
    ),
    "request_timeout": _field("Request timeout (s)", "Seconds that one API request may take. Empty: 60.", _SECONDS),
    "callback_url": _field(
        "Callback URL",
        "URL of your own that the service calls when an image task is done. Not needed: Airflow asks by itself.",
    ),
    "submit_rate": _field(
        "Submit rate", "Highest rate of submissions, like 20/10s (20 in any 10 seconds), or a tier of the service."
    ),
    "query_rate": _field(
        "Query rate",
        "Highest rate of status requests, like 2/s, or a tier of the service. Empty: the service's default.",
    ),
    "max_active_tasks": _field(
        "Max. active image tasks",
        "How many image tasks of this account may run at the same time.",
        {"type": ["integer", "null"], "minimum": 1},
    ),
    "budget_per_day": _field(
        "Budget per day", "What all Dags may spend in a day with this account, like 20.00 USD. Empty: no limit."
    ),
    "budget_per_month": _field(
        "Budget per month", "What all Dags may spend in a month with this account. Empty: no limit."
    ),
    "prices": _field(
        "Prices", 'Price of a picture by model, as JSON: {"gpt-image-2": "0.04 USD"}. Empty: published prices.'
    ),
    "download_hosts": _field(
        "Download hosts", "Hosts that results may come from, separated by commas. Empty: any public host."
    ),
    "allow_private_hosts": _field(
        "Allow private hosts",
        "Allow results from private addresses, and a Base URL with plain http inside your own network.",
        {"type": ["boolean", "null"], "default": False},
    ),
    "verify": _field("Verify TLS", "true, false, or the path of a CA bundle. Empty: true."),
    "trust_env": _field(
        "Use the environment's proxies",
        "Take proxies and the CA bundle from environment variables.",
        {"type": ["boolean", "null"], "default": True},
    ),
}


def fields() -> dict[str, dict[str, Any]]:
    """Return the extra fields in the metadata's form: name, label, help text and JSON schema."""
    services = known_services()
    choice = {"type": "string", "enum": list(services), "default": services[0]}
    own = {"service": _field("Service", "The image service that the API key is for.", choice), **_FIELDS}
    return {**_fields_of_services(), **own}


def _fields_of_services() -> dict[str, dict[str, Any]]:
    """Return what the services add; the form is one for all of them, so each field says whose it is."""
    added: dict[str, dict[ConnectionField, list[str]]] = {}
    for service_name in known_services():
        try:
            service = get_service(service_name)
            for name, field in service.connection_fields.items():
                added.setdefault(name, {}).setdefault(field, []).append(service.title)
        except Exception:  # noqa: BLE001 - whatever somebody's package does
            # Airflow asks at every start, and one that failed would stop every command.
            _log.warning("The connection form lacks the fields of the service %r.", service_name, exc_info=True)
    made = {}
    for name, titles_by_field in added.items():
        first = next(iter(titles_by_field))
        told = (f"{', '.join(titles)}: {field.description}" for field, titles in titles_by_field.items())
        schema = {"type": [first.kind, "null"], **({"format": "password"} if first.is_secret else {})}
        made[name] = _field(first.label, " ".join(told), schema)
    return made


def widgets() -> dict[str, Any]:
    """Return the extra fields in the form of a hook's method, with the field classes that Airflow 3.1 knows.

    :raises ImportError: outside Airflow 3.1's form service, where the libraries of the old forms are not installed.
    """
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional, any_of

    classes = {"boolean": BooleanField, "integer": IntegerField}
    made = {}
    for name, field in fields().items():
        schema = field["schema"]
        choices = schema.get("enum")
        field_class = next((each for kind, each in classes.items() if kind in schema["type"]), StringField)
        made[name] = field_class(
            field["label"],
            validators=[any_of(choices)] if choices else [Optional()],
            description=field["description"],
            default=schema.get("default"),
        )
    return made
