"""What a service says of itself, held against what can be true."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Rate

_LEAST = {"batch_size": 1, "requests_per_read": 1, "most_edit_images": 1, "poll_interval": 0.1}


def wrong_facts(service: Service) -> Iterator[str]:
    """Yield what a service says of itself that cannot be."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", service.name):
        yield f"name is {service.name!r}, which is no lower-case word"
    if not service.default_base_url.startswith("https://"):
        yield f"default_base_url is {service.default_base_url!r}, which is not https"
    for name, least in _LEAST.items():
        if not isinstance(getattr(service, name), int | float) or getattr(service, name) < least:
            yield f"{name} is {getattr(service, name)!r}, not a number from {least}"
    life = service.results_live_for
    if life is not None and not (isinstance(life, int | float) and life > 0):
        yield f"results_live_for is {life!r}, neither None nor seconds"
    if wide := [host for host in service.key_hosts if host.strip(".").count(".") < 1]:
        yield f"key_hosts holds {wide!r}: the key could go to anybody there"
    limits = (rate for tier in service.tiers.values() for rate in (tier.submit, tier.query))
    if not all(isinstance(rate, Rate) for rate in (service.default_query_rate, *limits)):
        yield "default_query_rate or a tier is no Rate"
    if service.image_count({service.image_count_options[0]: 3}) != 3 * service.images_per_request:
        yield f"image_count does not read {service.image_count_options[0]!r}"
