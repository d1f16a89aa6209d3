"""What pictures cost, as far as services publish it: for estimates before anything is submitted. Pure.

The consoles of the services are the truth; these are their published prices in US dollars, which users override by
model with ``prices={"gpt-image-2": 0.04}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.tasks import ImageRequest

CREDIT_AT_ACEDATACLOUD = 0.095215
"""US dollars."""

_SIZES_AT_KIE = {"1K": 0.03, "2K": 0.05, "4K": 0.08}

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "acedatacloud": {
        "gpt-image-1": 0.019,
        "gpt-image-1.5": 0.052,
        "nano-banana": 0.14 * CREDIT_AT_ACEDATACLOUD,
        "nano-banana-2-lite": 0.14 * CREDIT_AT_ACEDATACLOUD,
        "nano-banana-2": 0.28 * CREDIT_AT_ACEDATACLOUD,
        "nano-banana-pro": 0.35 * CREDIT_AT_ACEDATACLOUD,
    },
}
"""By service and model, per picture. AceDataCloud's published list and guides; models whose price the documents give
in several ways, or not at all, are left out."""


def read_prices(value: Any) -> dict[str, float]:
    """Check the prices that a user gives, per picture by model.

    :raises InvalidRequestError: it is not a mapping of models to amounts.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"prices is {value!r}; write it like {{'gpt-image-2': 0.04}}, per picture")
    return {str(model): _amount(f"prices[{model!r}]", price) for model, price in value.items()}


def read_max_cost(value: Any) -> float | None:
    """Check ``max_cost``, an amount in the currency of the prices.

    :raises InvalidRequestError: it is no amount above zero.
    """
    if value is None or value == "":
        return None
    amount = _amount("max_cost", value)
    if amount == 0:
        raise InvalidRequestError("max_cost is 0; no picture could be submitted")
    return amount


def price_of(service: str, request: ImageRequest, prices: Mapping[str, float]) -> float | None:
    """Return what one picture of a request costs, None where nobody published it.

    :param service: name of the service.
    :param request: its model filled in.
    :param prices: the user's own, by model; they win.
    """
    model = request.model or ""
    if model in prices:
        return prices[model]
    if service == "local":
        return 0.0
    if service == "kie" and model.startswith("gpt-image-2-"):
        return _SIZES_AT_KIE.get(str(request.options.get("resolution", "1K")))
    return PUBLISHED.get(service, {}).get(model)


def cost_of(service: str, request: ImageRequest, prices: Mapping[str, float]) -> float | None:
    """Return what all pictures of a request cost, None where nobody published it."""
    price = price_of(service, request, prices)
    return None if price is None else price * request.image_count


def _amount(name: str, value: Any) -> float:
    try:
        amount = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        amount = float("nan")
    if not 0 <= amount < float("inf"):
        raise InvalidRequestError(f"{name} is {value!r}; it must be an amount of 0 or more")
    return amount
