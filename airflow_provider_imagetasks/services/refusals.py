"""Answers that do not come from the service's own code: a proxy's page, garbage, a redirect, an empty body."""

from __future__ import annotations

import json
import re
from typing import Any

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
from airflow_provider_imagetasks.services.fields import mapping, text
from airflow_provider_imagetasks.services.wire import Response, excerpt

CONTENT_POLICY_CODES = frozenset({"content_policy_violation", "moderation_blocked"})
"""OpenAI's own codes, which gateways pass on."""
QUOTA_CODES = frozenset(
    {
        *("insufficient_quota", "insufficient_user_quota", "insufficient_balance", "insufficient_credits"),
        *("billing_hard_limit_reached", "billing_not_active", "pre_consume_token_quota_failed"),
    }
)
"""Codes of OpenAI and of gateways for an empty balance, which some send with the status of a rate limit."""
_QUOTA_WORDS = re.compile(rf"\b({'|'.join(QUOTA_CODES)})\b|exceeded your current quota", re.IGNORECASE)
_SAID = 8_000
"""Characters of an answer in which such words are looked for; a refusal is no longer, and more would hold others up."""
STATUSES: dict[int, type[ImageTaskError]] = {
    **dict.fromkeys((400, 404, 405, 413, 422), InvalidRequestError),
    401: AuthenticationError,
    402: QuotaExceededError,
    **dict.fromkeys((408, 409, 425, 499), ServiceUnavailableError),
    429: RateLimitError,
}
"""The meaning of a status alone, where no code of the service says more."""


def quota_code(error: Any, status: int) -> str | None:
    """Return the code for an empty balance that a refusal names, None for another refusal.

    :param error: an object with a ``code`` or ``type``, or a text.
    :param status: with that of a rate limit the words count too, since some gateways drop the code.
    """
    codes = [(text(mapping(error).get(name)) or "").lower() for name in ("code", "type")]
    named = next((code for code in codes if code in QUOTA_CODES), None)
    if named or status != 429:
        return named
    found = _QUOTA_WORDS.search((error if isinstance(error, str) else json.dumps(error))[:_SAID])
    return (found[1] or "insufficient_quota").lower() if found else None


def unexplained(response: Response, *, service: str) -> ImageTaskError:
    """Return the error of an answer whose body does not explain itself: a proxy's page, garbage, an empty body."""
    seen = f"HTTP {response.status} from {service}: {response.excerpt() or 'an empty body'}"
    if response.status == 429:
        code = quota_code(response.content[:_SAID].decode("utf-8", "replace"), response.status)
        if code:
            return QuotaExceededError(seen, service=service, code=code)
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
