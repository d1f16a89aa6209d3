"""Refusals by what services share, codes and statuses, and answers of no service: a page, garbage, a redirect."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    Billed,
    ContentPolicyError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import mapping, number, structure, text
from airflow_provider_imagetasks.services.wire import Response, excerpt

CONTENT_POLICY_CODES = frozenset({"content_policy_violation", "moderation_blocked"})
"""OpenAI's own codes, which gateways pass on."""
QUOTA_CODES = frozenset(
    {
        *("insufficient_quota", "insufficient_user_quota", "insufficient_balance", "insufficient_credits"),
        *("billing_hard_limit_reached", "billing_not_active", "pre_consume_token_quota_failed", "payment_required"),
    }
)
"""Codes of OpenAI and of gateways for an empty balance, which some send with the status of a rate limit."""
KEY_CODES = frozenset({"invalid_api_key", "invalid_organization", "account_deactivated", "access_terminated"})
"""OpenAI's codes for a key, or an account, that is let in no more."""
NAMED_CODES: Mapping[str, type[ImageTaskError]] = {
    **dict.fromkeys(CONTENT_POLICY_CODES, ContentPolicyError),
    **dict.fromkeys(QUOTA_CODES, QuotaExceededError),
    **dict.fromkeys(KEY_CODES, AuthenticationError),
}
"""The meaning of the codes that gateways pass on, whichever field they come in."""
_SENTENCES = {
    "You exceeded your current quota": "insufficient_quota",
    "Billing hard limit has been reached": "billing_hard_limit_reached",
    "Your account is not active": "billing_not_active",
    "The OpenAI account associated with this API key has been deactivated": "account_deactivated",
    "Incorrect API key provided": "invalid_api_key",
}
"""OpenAI's own words for its codes, of which some gateways leave no more."""
_WORDS = "|".join((*NAMED_CODES, *_SENTENCES))
_FIRST_WORDS = re.compile(rf"\W*({_WORDS})\b", re.IGNORECASE)
_QUOTA_WORDS = re.compile(rf"\b({'|'.join(QUOTA_CODES)}|{next(iter(_SENTENCES))})\b", re.IGNORECASE)
_CODES = {words.lower(): code for words, code in (*_SENTENCES.items(), *zip(NAMED_CODES, NAMED_CODES, strict=True))}
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
_NOT_YET_DONE = frozenset({307, 308})
"""Redirects that want the same request elsewhere. Any other may lead to what became of one that was carried out."""


def named_refusal(error: Any, status: int) -> tuple[type[ImageTaskError], str] | None:
    """Return class and code of a refusal that names one of :data:`NAMED_CODES`; None for another refusal.

    A code counts in its field, or where a message begins with it, since some gateways drop the field. Further on in a
    message, a prompt may be quoted; only with the status of a rate limit an empty balance counts there too.

    :param error: an object with a ``code`` or ``type``, or a text.
    """
    said = mapping(error)
    codes = [(text(said.get(name)) or "").lower() for name in ("code", "type")]
    code = next((code for code in codes if code in NAMED_CODES), None)
    if code is None:
        messages = (
            [error[:_SAID]] if isinstance(error, str) else [text(said.get(name)) or "" for name in ("message", "msg")]
        )
        found = next(filter(None, map(_FIRST_WORDS.match, messages)), None)
        if found is None and status == 429:
            found = _QUOTA_WORDS.search((error if isinstance(error, str) else json.dumps(error))[:_SAID])
        code = _CODES[found[1].lower()] if found else None
    return (NAMED_CODES[code], code) if code else None


def perhaps_billed(error: ImageTaskError, *, pictures: Any = (), used: Any = None) -> ImageTaskError:
    """Return why an image task failed, which may have been charged where its record shows that it was worked on.

    :param pictures: that the record names all the same.
    :param used: what it says of tokens, credits or an amount; an amount of zero shows nothing.
    """
    shown = "pictures" if pictures else "what it used" if error.billed == "no" and _is_above_zero(used) else None
    if shown is not None:
        error.billed = "unknown"
        error.message = f"{error.message.rstrip('.')}; but its record names {shown}"
    return error


def _is_above_zero(used: Any) -> bool:
    kept = structure(used) or {}
    return any(_is_above_zero(each) or (number(each) or 0) > 0 for each in kept.values())


def object_in(response: Response, *, service: str) -> Mapping[str, Any]:
    """Return the object that an answer is.

    :raises ImageTaskError: it is none, or a redirect, so it does not come from the service itself.
    """
    try:
        said = response.json()
    except ValueError:
        said = None
    if not isinstance(said, Mapping) or 300 <= response.status < 400:
        raise unexplained(response, service=service)
    return said


def refusal_by_status(status: int, what: str, **facts: Any) -> ImageTaskError:
    """Return the error of a refusal in the service's own words, of which its status alone tells the class.

    :param facts: ``service``, ``code`` and the like, as errors take them.
    """
    error_class = STATUSES.get(status) or (ServiceUnavailableError if status >= 500 else None)
    if error_class is not None:
        return error_class(what, **facts)
    return ProtocolError(what, billed="no" if 400 <= status < 500 else None, retryable=False, **facts)


def unexplained(response: Response, *, service: str) -> ImageTaskError:
    """Return the error of an answer whose body does not explain itself: a proxy's page, garbage, an empty body."""
    seen = f"HTTP {response.status} from {service}: {response.excerpt() or 'an empty body'}"
    # A proxy, a firewall or another server says such things; what there is to correct has to be named.
    unlike = f"{seen} (unlike the service's own words: check Host and proxies)"
    named = named_refusal(response.content[:_SAID].decode("utf-8", "replace"), response.status)
    if named and 400 <= response.status < 500:
        error_class, code = named
        return error_class(seen, service=service, code=code)
    if response.status == 429:
        return RateLimitError(seen, service=service, retry_after=exchange.retry_after(response))
    if response.status >= 500 or STATUSES.get(response.status) is ServiceUnavailableError:
        return ServiceUnavailableError(seen, service=service)
    if 300 <= response.status < 400 and "location" in response.headers:
        target = excerpt(response.headers["location"].partition("?")[0]) or "nowhere"
        return ProtocolError(
            f"HTTP {response.status} from {service} points to {target}. Redirects are not followed, "
            "because the key must not be sent elsewhere; set the connection's Host to the right base URL",
            service=service,
            billed=_billed_by(response.status),
            retryable=False,
        )
    if 300 <= response.status < 500:
        error_class = STATUSES.get(response.status, ProtocolError)
        is_of_account = error_class in (AuthenticationError, QuotaExceededError)
        billed = _billed_by(response.status)
        return error_class(seen if is_of_account else unlike, service=service, billed=billed, retryable=False)
    return ProtocolError(f"The answer is not the expected JSON object. {seen}", service=service)


def _billed_by(status: int) -> Billed:
    """Return whether a submission may have been paid for that a redirect or a refusal answers."""
    return "no" if status >= 400 or status in _NOT_YET_DONE else "unknown"
