"""The rows of the services' state and error tables: every one of them needs a test case whose id names it.

Sections 1 are AceDataCloud's Tasks API (1.6 states of a record, 1.9 errors: HTTP status and code), 3.1 is
AI GPT Image (states of a record, codes of the envelope).
"""

from __future__ import annotations

TASKS_API_STATES = {
    "1.6-no-such-record": "an empty object, or one without an id",
    "1.6-not-finished": "no finish time yet, whatever else the record holds",
    "1.6-finished-with-error": "a finish time, and an error or an explicit lack of success",
    "1.6-finished-without-image": "a finish time, no error, and nothing that could be a picture",
    "1.6-finished-with-image": "a finish time, no error, and at least one picture",
}

TASKS_API_ERRORS = {
    "1.9-400-bad_request": "the request is wrong",
    "1.9-400-no_token": "the request came without a key",
    "1.9-400-api_not_implemented": "the service does not offer this",
    "1.9-400-token_mismatched": "the key is for something else",
    "1.9-401-invalid_token": "the key is wrong",
    "1.9-401-token_expired": "the key is too old",
    "1.9-401-token_mismatched": "the key is for something else",
    "1.9-403-used_up": "no balance is left",
    "1.9-403-disabled": "the key or the account is switched off",
    "1.9-403-forbidden": "the content policy forbids it",
    "1.9-404-no_api": "there is nothing at this path",
    "1.9-429-too_many_requests": "too fast",
    "1.9-429-rate_limited": "too fast, by its other name",
    "1.9-500-api_error": "the service failed",
    "1.9-504-timeout": "the service took too long",
}

JOBS_API_STATES = {
    "3.1-state-waiting": "queued or at work",
    "3.1-state-success": "finished, with addresses of pictures",
    "3.1-state-success-without-urls": "said to be finished, but there is no picture",
    "3.1-state-fail": "failed, or cancelled by somebody",
}

JOBS_API_ERRORS = {
    "3.1-code-400": "the request is wrong",
    "3.1-code-401": "the key is wrong",
    "3.1-code-402": "no credits are left",
    "3.1-code-404": "no such image task",
    "3.1-code-422": "a field of the request is wrong",
    "3.1-code-429": "too fast, or too many at the same time",
    "3.1-code-500": "the service failed",
}

ROWS = {**TASKS_API_STATES, **TASKS_API_ERRORS, **JOBS_API_STATES, **JOBS_API_ERRORS}
