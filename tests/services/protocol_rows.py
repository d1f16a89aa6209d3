"""The rows of the services' state and error tables: every one of them needs a test case whose id names it.

Sections 1 are AceDataCloud's Tasks API (1.6 states of a record, 1.7 several records, 1.8 where the pictures are, 1.9
errors: HTTP status and code), 2 is what XHuoAPI does otherwise, 3.1 is AI GPT Image (states of a record, codes of the
envelope), 3.2 is kie (the same, and what it does otherwise), 3.3 is what their lookalikes do,
1.12 is AceDataCloud's MCP server, 4 the GPT-Image MCP server.
"""

from __future__ import annotations

TASKS_API_STATES = {
    "1.6-no-such-record": "an empty object, or one without an id",
    "1.6-not-finished": "no finish time yet, whatever else the record holds",
    "1.6-finished-with-error": "a finish time, and an error or an explicit lack of success",
    "1.6-finished-without-image": "a finish time, no error, and nothing that could be a picture",
    "1.6-finished-with-image": "a finish time, no error, and at least one picture",
}

TASKS_API_BATCH = {
    "1.7-limit": "without a limit only twelve records come",
    "1.7-order": "the records come in any order",
    "1.7-missing": "an id that is not known has no record in the answer",
    "1.7-groups": "fifty ids are asked for in one request",
    "1.7-count": "the number of matches, which is not that of the records on the page",
    "1.7-filters": "everything else that records can be chosen by",
}

TASKS_API_PICTURES = {
    "1.8-flat": "the list of pictures stands in data",
    "1.8-nested": "the list of pictures stands one level deeper, in data.data",
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

XHUOAPI = {
    "2-base-path": "the same paths, below /v1",
    "2-callback": "only what was submitted with a callback URL is kept",
    "2-answered-at-once": "what was answered with the pictures cannot be asked for",
    "2-older-times": "a duration, and neither a start nor the newer name of the duration",
    "2-no-success-key": "a good result need not say that it is one",
    "2-not-found": "an empty object",
    "2-used-up": "an empty balance is status 403",
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

KIE_STATES = {
    "3.2-state-waiting": "queued",
    "3.2-state-queuing": "queued",
    "3.2-state-generating": "at work",
    "3.2-state-success": "finished, with addresses of pictures",
    "3.2-state-success-without-urls": "finished, with something else or nothing",
    "3.2-state-fail": "failed",
}

KIE_ERRORS = {
    "3.2-code-400": "the request is wrong",
    "3.2-code-401": "the key is wrong",
    "3.2-code-402": "no credits are left",
    "3.2-code-404": "no such image task",
    "3.2-code-408": "the service took too long",
    "3.2-code-422": "no record at a status query, a wrong field at a submission",
    "3.2-code-429": "too fast",
    "3.2-code-433": "the key has used up its share",
    "3.2-code-451": "a picture to edit from could not be fetched",
    "3.2-code-455": "maintenance",
    "3.2-code-500": "the service failed",
    "3.2-code-501": "the image task failed",
    "3.2-code-505": "switched off",
    "3.2-code-531": "failed and paid back",
    "3.2-code-550": "rejected",
}

KIE = {
    "3.2-just-created": "a new image task has no record for a moment",
    "3.2-callback": "a callback URL has another name here",
    "3.2-no-request-id": "nothing makes a submission repeatable",
    "3.2-credits": "the balance can be asked for",
    "3.2-record-id": "a second id stands beside the first",
    "3.2-message": "the words of an error have one of two names",
    "3.2-no-data": "an error has no data, or null",
    "3.2-odd-client": "a door in front turns odd clients away with a text",
    "3.2-credits-consumed": "a record may say what it cost",
}

SIBLINGS = {
    "3.3-success-words": "finished, by other words",
    "3.3-failure-words": "failed, by other words",
    "3.3-running-words": "at work, by any other word",
    "3.3-result-object": "the result as an object, not as a text",
}

ACEDATACLOUD_MCP = {
    "1.12-submission": "the tools for pictures, with the model always named",
    "1.12-edit": "several pictures as a list of URLs, and no mask",
    "1.12-trace-id": "dropped without a word",
    "1.12-model-refused": "a model that the schema does not list",
    "1.12-callback": "with a callback URL the server does not ask for async",
    "1.12-submitted": "the API's answer and some advice",
    "1.12-record": "a record and some advice",
    "1.12-batch": "several records, no advice",
    "1.12-encoded-twice": "the JSON inside of JSON",
    "1.12-not-found": "an error that says so",
    "1.12-not-found-empty": "an empty object, as older versions say it",
    "1.12-authentication-error": "HTTP 401 and 403 alike: key, balance, content policy",
    "1.12-api-error": "any other HTTP status of the API",
    "1.12-error-generating-image": "no answer of the API",
    "1.12-error-editing-image": "no answer of the API",
    "1.12-error-retrieving-task": "no answer of the API",
    "1.12-error-listing-tasks": "no answer of the API",
    "1.12-no-response-received": "an empty answer of the API",
    "1.12-one-of-id-and-trace-id": "a question for nothing",
    "1.12-words-of-its-own": "no JSON, or an error of no known kind",
}

GPT_IMAGE_MCP = {
    "4.2-arguments": "sample_count, a tool, a name for the files of their own",
    "4.2-edit": "a picture that the schema does not list",
    "4.3-started": "the id of a job",
    "4.3-status-pending": "not begun",
    "4.3-status-running": "at work",
    "4.3-status-completed": "finished; its files are asked for",
    "4.3-status-failed": "failed, and no error",
    "4.3-status-cancelled": "marked as cancelled, and billed",
    "4.3-status-unknown": "a word that nobody knows yet",
    "4.3-result": "the whole prompt, then the files",
    "4.3-result-without-files": "completed, and no files are named",
    "4.3-result-fake-files": "a prompt that imitates the list of files",
    "4.3-result-count": "a list that does not hold what it announces",
    "4.3-cancelled": "the job is marked",
    "4.3-list": "jobs, newest first",
    "4.3-list-empty": "no jobs",
    "4.3-list-fake-job": "a text that imitates a job",
    "4.3-error-job-not-found": "-32602: no such job",
    "4.3-error-still-running": "-32600: no result yet",
    "4.3-error-job-failed": "-32600: no result, with nested messages",
    "4.3-error-was-cancelled": "-32600: no result",
    "4.3-error-cannot-cancel": "-32600: it has ended",
    "4.3-error-limit": "-32602: a list of more than a hundred",
    "4.3-error-unknown-tool": "-32601: not this server",
    "4.3-error-start": "-32603: what happened to the start is not known",
    "4.3-error-arguments": "-32602: no tool or no prompt",
    "4.3-error-as-json-rpc": "the same errors from a bridge that passes them on as JSON-RPC's",
    "4.3-words-of-its-own": "a text that nobody knows",
}

ROWS = {
    **TASKS_API_STATES,
    **TASKS_API_BATCH,
    **TASKS_API_PICTURES,
    **TASKS_API_ERRORS,
    **XHUOAPI,
    **JOBS_API_STATES,
    **JOBS_API_ERRORS,
    **KIE_STATES,
    **KIE_ERRORS,
    **KIE,
    **SIBLINGS,
    **ACEDATACLOUD_MCP,
    **GPT_IMAGE_MCP,
}
