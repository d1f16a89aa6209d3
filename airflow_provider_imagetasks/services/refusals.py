"""Answers that do not come from the service's own code: a proxy's page, garbage, a redirect, an empty body."""

from __future__ import annotations

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.wire import Response, excerpt

CONTENT_POLICY_CODES = frozenset({"content_policy_violation", "moderation_blocked"})
"""OpenAI's own codes, which gateways pass on."""
STATUSES: dict[int, type[ImageTaskError]] = {
    **dict.fromkeys((400, 404, 405, 413, 422), InvalidRequestError),
    401: AuthenticationError,
    402: QuotaExceededError,
    408: ServiceUnavailableError,
    429: RateLimitError,
}
"""The meaning of a status alone, where no code of the service says more."""


def unexplained(response: Response, *, service: str) -> ImageTaskError:
    """Return the error of an answer whose body does not explain itself: a proxy's page, garbage, an empty body."""
    seen = f"HTTP {response.status} from {service}: {response.excerpt() or 'an empty body'}"
    if response.status == 429:
        return RateLimitError(seen, service=service, retry_after=exchange.retry_after(response))
    if response.status >= 500 or STATUSES.get(response.status) is ServiceUnavailableError:
        return ServiceUnavailableError(seen, service=service)
    if 300 <= response.status < 400:
        target = excerpt(response.headers.get("location", "nowhere").partition("?")[0])
        return ProtocolError(
            f"HTTP {response.status} from {service} points to {target}. Redirects are not followed, "
            "since the key must not go elsewhere; set the connection's Host to the right base URL",
            service=service,
            # "See Other" may answer a request that was carried out.
            billed="unknown" if response.status == 303 else "no",
            retryable=False,
        )
    if 400 <= response.status < 500:
        error_class = STATUSES.get(response.status, ProtocolError)
        return error_class(seen, service=service, billed="no", retryable=False)
    return ProtocolError(f"The answer is not the JSON object it should be. {seen}", service=service)
