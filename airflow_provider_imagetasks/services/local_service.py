"""The image service that ships with this package, as a service of its own: no key, no network."""

from __future__ import annotations

from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.tasks import ImageRequest


class LocalService(AceDataCloud):
    """The server that ``python -m airflow_provider_imagetasks.local`` starts; it speaks the dialect of AceDataCloud."""

    name = "local"
    title = "Local image service"
    default_base_url = "http://127.0.0.1:8750/acedatacloud"
    console_url = "http://127.0.0.1:8750"
    default_query_rate = Rate((Window(100, 1),))
    requires_key = False

    def price_of(self, request: ImageRequest) -> float | None:
        """Return 0: its pictures cost nothing."""
        return 0.0
