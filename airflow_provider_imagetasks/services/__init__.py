"""The services, by the name that a connection's ``service`` field holds.

Others are added through the entry point group ``airflow_provider_imagetasks.services``, whose entries name a
subclass of :class:`~airflow_provider_imagetasks.services.base.Service`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Tier

ENTRY_POINT_GROUP = "airflow_provider_imagetasks.services"
_BUILT_IN = {
    "acedatacloud": "airflow_provider_imagetasks.services.acedatacloud:AceDataCloud",
    "xhuoapi": "airflow_provider_imagetasks.services.xhuoapi:XHuoApi",
    "aigptimage": "airflow_provider_imagetasks.services.aigptimage:AiGptImage",
    "kie": "airflow_provider_imagetasks.services.kie:Kie",
    "fal": "airflow_provider_imagetasks.services.fal:Fal",
    "replicate": "airflow_provider_imagetasks.services.replicate:Replicate",
    "openai": "airflow_provider_imagetasks.services.openai:OpenAIService",
    "acedatacloud_mcp": "airflow_provider_imagetasks.services.acedatacloud_mcp:AceDataCloudMcp",
    "gpt_image_mcp": "airflow_provider_imagetasks.services.gpt_image_mcp:GptImageMcp",
    "local": "airflow_provider_imagetasks.services.local_service:LocalService",
}


@cache
def known_services() -> tuple[str, ...]:
    """Return the names of all services that are installed: the built-in ones, then others by name."""
    others = {entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)} - set(_BUILT_IN)
    return (*_BUILT_IN, *sorted(others))


@cache
def get_service(name: str) -> Service:
    """Return the service of that name.

    :raises KeyError: there is none.
    :raises TypeError: an entry point names something that is not a service.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        service_class = getattr(import_module(module), attribute)
    else:
        found = next((entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == name), None)
        if found is None:
            raise KeyError(name)
        service_class = found.load()
    if not (isinstance(service_class, type) and issubclass(service_class, Service)):
        raise TypeError(f"the entry point {name!r} of {ENTRY_POINT_GROUP} is not a subclass of Service")
    return service_class()


def tiers_for(service: Service, *named: Any) -> dict[str, Tier]:
    """Return the tiers of a service, and those of others that are named: an account may be behind a gateway.

    :param named: what a connection or an argument says of a rate.
    """
    tiers = service.named_tiers()
    for name in (each.strip() for each in named if isinstance(each, str)):
        other = name.partition(":")[0]
        if name not in tiers and other != name and other in known_services():
            tiers |= get_service(other).named_tiers()
    return tiers
