"""A check of a service against the contract, over both transports: for the tests of whoever adds one.

The service's own words are needed for it: what it answers in each case. A server on loopback gives those answers; no
pause is waited for.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageFile, ImageTask, TaskState
from airflow_provider_imagetasks.transports.answering_server import Reply, answering_server, run_at_once, run_in_loop
from airflow_provider_imagetasks.transports.service_facts import (
    LOST,
    UNKNOWN_ID,
    UNREAD,
    ServiceAnswers,
    forged,
    with_other_word,
    wrong_estimates,
    wrong_facts,
)
from airflow_provider_imagetasks.transports.service_round import (
    CALLBACK,
    FILES,
    MASK,
    ODD_ID,
    OPTION,
    PICTURE,
    PROMPT,
    SUBMISSION_KEY,
    ServiceRound,
    Surprise,
)

__all__ = ["UNKNOWN_ID", "ServiceAnswers", "check_service"]


def check_service(service: Service, answers: ServiceAnswers, *, model: str | None = None) -> None:
    """Hold a service against the contract, over both transports; nothing but loopback is asked.

    :param service: over HTTP; a service of MCP tools cannot be checked.
    :param model: for the submissions, where the service has no default.
    :raises AssertionError: lists everything that is wrong.
    """
    with answering_server() as server:
        problems = [
            f"{kind}: {problem}"
            for kind, run in (("requests", run_at_once), ("aiohttp", run_in_loop))
            for problem in _Check(service, answers, server, run, model).problems()
        ]
    unique = dict.fromkeys(problem.partition(": ")[2] for problem in problems)
    both = [problem for problem in unique if f"requests: {problem}" in problems and f"aiohttp: {problem}" in problems]
    alone = [problem for problem in problems if problem.partition(": ")[2] not in both]
    assert not problems, f"{service.name} breaks the contract of a service:\n- " + "\n- ".join([*both, *alone])


class _Check(ServiceRound):
    """One round of checks, over one transport."""

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from wrong_facts(self._service)
        request = self._completed()
        if isinstance(request, Surprise):
            yield f"a request with an option that it does not know is not completed: {request}"
            return
        self._request = request
        yield from wrong_estimates(self._service, request)
        yield from self._submissions()
        yield from self._further_requests()
        yield from self._files_and_masks()
        yield from self._lost_submissions()
        yield from self._refusals()
        yield from self._reads()
        yield from self._answers_for_others()
        yield from self._unknown_words()
        yield from self._broken_reads()
        yield from self._odd_ids()
        yield from self._batches()
        yield from self._cancels()
        yield from self._callbacks()
        said = self._outcome(self._service.check_connection, self._answers.connection)
        if not isinstance(said, str) or isinstance(said, Surprise):
            yield f"check_connection gives {said!r}, not a sentence"
        yield from self._leaks

    def _submissions(self) -> Iterator[str]:
        options = dict(self._request.options)
        task = self._submit(self._answers.accepted)
        if self._request.options != options:
            yield "a submission changes the options of its request, which is sent again where nobody took it"
        if self._steps.paused:
            yield f"a submission that is taken pauses for {self._steps.paused:g} s before"
        if not isinstance(task, ImageTask):
            yield f"a submission that is taken gives {task!r}, not an ImageTask"
            return
        if task.id != self._answers.image_task_id:
            yield f"a submission that is taken has the id {task.id!r}, not {self._answers.image_task_id!r}"
        if task.service != self._service.name:
            yield f"an image task is of the service {task.service!r}, not {self._service.name!r}"
        (path, _headers, body), *more = self._server.requests
        if more:
            yield f"a submission that is taken makes {1 + len(more)} requests"
        if self._server.methods[0] in ("GET", "DELETE"):
            yield f"a submission is a {self._server.methods[0]}: whatever is on the way may make it again"
        if self._goes_out_without_the_key():
            yield f"the key does not go out in {self._service.key_header}"
        if PROMPT not in body:
            yield "the prompt is not sent"
        if self._request.model and self._request.model not in path + body:
            yield "the model is not sent"
        if OPTION not in path + body:
            yield "an option that it does not know is not sent: it is left to the service"
        is_known_by_key = self._service.repeats_submit_by_key or self._service.finds_by_trace_id
        if is_known_by_key and SUBMISSION_KEY not in self._sent():
            yield "the key of a submission is not sent, by which it is recognised or found again"

    def _further_requests(self) -> Iterator[str]:
        cases: list[tuple[bool, dict[str, Any], str, str]] = [
            (self._service.makes_edits, {"images": [PICTURE]}, PICTURE, "the picture of an edit"),
            (self._service.takes_callback_url, {"callback_url": CALLBACK}, CALLBACK, "the callback URL"),
        ]
        for is_taken, fields, wanted, what in cases:
            request = self._completed(**fields) if is_taken else None
            if isinstance(request, Surprise):
                yield f"{what} is not taken: {request}"
            elif request is not None:
                task = self._submit(self._answers.accepted, request)
                sent = unquote(self._sent())
                if not isinstance(task, ImageTask) or wanted not in sent:
                    yield f"{what} is not sent"
                if self._request.model and not request.model:
                    yield "the model is not sent with an edit (default_edit_model)"

    def _files_and_masks(self) -> Iterator[str]:
        picture, mask = FILES
        cases: list[tuple[dict[str, Any], str | ImageFile, str]] = [
            ({"images": [PICTURE, MASK]}, MASK, "the second picture of an edit"),
            ({"images": [picture]}, picture, "a file as the picture of an edit"),
            ({"images": [PICTURE], "mask": MASK}, MASK, "the mask of an edit"),
            ({"images": [picture], "mask": mask}, mask, "the mask of an edit"),
        ]
        for fields, wanted, what in cases if self._service.makes_edits else ():
            request = self._completed(**fields)
            if isinstance(request, Surprise):
                # One that takes none says so.
                if not request.startswith("InvalidRequestError") or (wanted is picture and self._service.takes_files):
                    yield f"{what} is not taken: {request}"
                continue
            self._submit(self._answers.accepted, request)
            sent, content = self._sent(), wanted.content if isinstance(wanted, ImageFile) else wanted.encode()
            if not any(
                form.decode() in text for text in (sent, unquote(sent)) for form in (content, b64encode(content))
            ):
                yield f"{what} is not sent, nor refused"

    def _lost_submissions(self) -> Iterator[str]:
        for case, reply in LOST.items():
            error, count = self._submit(reply), len(self._server.requests)
            if not isinstance(error, UnknownOutcomeError):
                yield f"a submission with {case} gives {error!r}, not UnknownOutcomeError: it may have been taken"
            elif self._service.how_to_look not in error.message:
                yield f"the error of a submission with {case} does not say where to look (how_to_look)"
            if count > 1 and not self._service.repeats_submit_by_key:
                yield f"a submission with {case} is made {count} times, and may be paid for as often"

    def _refusals(self) -> Iterator[str]:
        refusals: dict[type[ImageTaskError], Reply] = {RateLimitError: (429, {}), **self._answers.refusals}
        for error_class, reply in refusals.items():
            error = self._submit(reply)
            if type(error) is not error_class:
                yield f"a refusal that is {error_class.__name__} gives {error!r}"
            elif error.billed != "no":
                yield f"a refusal by {error_class.__name__} is billed {error.billed!r}, not 'no'"

    def _reads(self) -> Iterator[str]:
        answers = self._answers
        expected = {
            TaskState.RUNNING: answers.running,
            TaskState.SUCCEEDED: answers.succeeded,
            TaskState.FAILED: answers.failed,
            TaskState.NOT_FOUND: answers.not_found,
        }
        for state, replies in expected.items():
            task = self._read(replies)
            if not isinstance(task, ImageTask):
                yield f"reading one that is {state} gives {task!r}, not an ImageTask"
                continue
            if task.state is not state:
                yield f"one that is {state} is read as {task.state}"
            if task.id != answers.image_task_id:
                yield f"one that is {state} is read with the id {task.id!r}, not the one that was asked for"
            if (task.error is not None) is not (task.state is TaskState.FAILED):
                yield f"one that is {state} has the error {task.error!r}"
            if task.service != self._service.name:
                yield f"one that is {state} is read as one of the service {task.service!r}"
            if not self._names_it():
                yield "a status question does not name the image task"
            if task.error is not None and task.error.image_task_id != answers.image_task_id:
                yield "the error of one that failed does not name it (image_task_id)"
            if task.error is not None and task.error.retryable:
                yield f"the error of one that failed is {type(task.error).__name__}, retryable: no retry mends it"
            if self._steps.paused:
                yield f"a status question pauses for {self._steps.paused:g} s; whoever asks decides when it asks again"
            if self._goes_out_without_the_key():
                yield "the key does not go out with a status question"
            urls = tuple(image.url for image in task.images)
            if urls != (answers.picture_urls if state is TaskState.SUCCEEDED else ()):
                yield f"one that is {state} has the pictures {urls}"
            if changing := {"PUT", "DELETE"}.intersection(self._server.methods):
                yield f"a status question is a {changing.pop()}, which changes something"
            places = [image.index for image in task.images]
            if places != sorted(set(places)) or any(place < 0 for place in places):
                yield f"one that is {state} has pictures with the indexes {places}: each is stored by its own, from 0"
            if len(self._server.requests) > self._service.requests_per_read:
                yield f"a status question makes {len(self._server.requests)} requests, more than requests_per_read"

    def _answers_for_others(self) -> Iterator[str]:
        known, replies = self._answers.image_task_id, self._answers.succeeded
        other = known.translate(str.maketrans("0123456789", "1234567890"))
        if other == known or f'"{known.rpartition(".")[2]}"' not in json.dumps(replies, default=repr):
            return
        task = self._outcome(lambda: self._service.read_one(other), replies)
        if isinstance(task, ImageTask) and task.state is TaskState.SUCCEEDED and task.id == other:
            yield f"the record of {known!r} is read as that of {other!r}, as a cache may give it: take the record's id"

    def _unknown_words(self) -> Iterator[str]:
        running = self._answers.running
        word = getattr(self._read(running), "raw_state", None)
        other = None if isinstance(running, list) else with_other_word(running, word)
        task = self._read(other) if other else None
        if other and not (isinstance(task, ImageTask) and task.state is TaskState.RUNNING):
            yield f"one in a state that nobody knows yet is read as {task!r}, not as running: it may go on"

    def _broken_reads(self) -> Iterator[str]:
        refusal = self._answers.refusals.get(AuthenticationError, (401, {}))
        told = self._outcome(self._service.check_connection, refusal), self._read(refusal)
        for what, said in zip(("check_connection", "a status question"), told, strict=True):
            if not isinstance(said, ImageTaskError):
                yield f"{what} with a key that is refused gives {said!r}, not an error"
        for case, reply in UNREAD.items():
            error = self._read(reply)
            if not isinstance(error, ImageTaskError):
                yield f"a status question with {case} gives {error!r}, not an error"
            elif error.billed != "unknown":
                yield f"a status question with {case} says billed={error.billed!r}; a read knows nothing of money"
            elif not error.retryable:
                yield f"a status question with {case} is not asked again"

    def _odd_ids(self) -> Iterator[str]:
        service = self._service
        questions: dict[str, Callable[[str], Flow[Any]]] = {"a status question": service.read_one}
        if service.batch_size > 1:
            questions["a question for several"] = lambda image_task_id: service.read_batch([image_task_id, UNKNOWN_ID])
        if service.can_cancel:
            questions["a cancel"] = service.cancel
        for what, make in questions.items():
            if self._leads_astray(make):
                yield (
                    f"{what} for {ODD_ID!r} asks for something else: percent-encode an id that goes into a path "
                    "(urllib.parse.quote(image_task_id, safe='')), or refuse it"
                )

    def _batches(self) -> Iterator[str]:
        service, known = self._service, self._answers.image_task_id
        if service.batch_size == 1:
            return
        tasks = self._outcome(lambda: service.read_tasks_once([known, UNKNOWN_ID]), self._answers.several)
        if not isinstance(tasks, dict):
            yield f"a question for several (ServiceAnswers.several) gives {tasks!r}, not image tasks by their id"
            return
        states = {name: task.state.value for name, task in tasks.items()}
        wanted = {known: "succeeded", **({} if service.batch_leaves_out else {UNKNOWN_ID: "not_found"})}
        if states != wanted:
            yield f"a question for one that succeeded and one that is not there gives {states}"
        if tasks.get(known) is not None and tasks[known].id != known:
            yield f"a question for several gives {known!r} the id {tasks[known].id!r}"
        if len(self._server.requests) > service.requests_per_read:
            yield f"a question for two makes {len(self._server.requests)} requests, more than requests_per_read"

    def _cancels(self) -> Iterator[str]:
        known = self._answers.image_task_id

        def cancel(reply: Reply | list[Reply]) -> Any:
            return self._outcome(lambda: self._service.cancel(known), reply)

        told = cancel(self._answers.cancelled if self._service.can_cancel else (200, {}))
        is_named = self._names_it()
        if not self._service.can_cancel:
            if not isinstance(told, str | ImageTaskError) or isinstance(told, Surprise):
                yield f"cancel gives {told!r}, neither a sentence about the bill nor an error"
            return
        if not isinstance(told, str) or isinstance(told, Surprise) or not told:
            yield f"a cancel that is taken (ServiceAnswers.cancelled) gives {told!r}, no sentence about the bill"
        if not is_named:
            yield "a cancel does not name the image task"
        gone = self._read(self._answers.stopped)
        if not isinstance(gone, ImageTask) or gone.error is None or not gone.error.was_cancelled:
            yield f"one that was cancelled (ServiceAnswers.stopped) has no error that was_cancelled: {gone!r}"
        for case, reply in (("no answer", None), ("HTTP 500", (500, {}))):
            error = cancel(reply)
            if not isinstance(error, ImageTaskError):
                yield f"a cancel with {case} gives {error!r}, not an error"
            elif error.billed != "unknown":
                yield f"a cancel with {case} says billed={error.billed!r}, which nobody can know"

    def _callbacks(self) -> Iterator[str]:
        good = self._answers.callback
        if good is None:
            if type(self._service).check_callback is not Service.check_callback:
                yield "it checks callbacks, and ServiceAnswers.callback has none that is signed well"
            return
        account = replace(self._account, webhook_secret=self._answers.webhook_secret)

        def checked(callback: Callback, keys: Reply | list[Reply] = self._answers.callback_keys) -> Any:
            return self._outcome(lambda: self._service.check_callback(callback, account), keys)

        found = checked(good)
        if not isinstance(found, str) or not f".{self._answers.image_task_id}".endswith(f".{found}"):
            yield f"a callback that is signed well gives {found!r}, not the image task that it is about"
            return
        for case, callback in forged(good, found):
            error = checked(callback)
            if not isinstance(error, AuthenticationError):
                yield f"a callback {case} gives {error!r}, not AuthenticationError: anybody could send it"
        # Another instance, which has no keys in mind, and a connection without a secret.
        account, self._service = replace(account, webhook_secret=None), type(self._service)()
        if isinstance(found := checked(good, (503, {})), str):
            yield f"a callback that nothing is there to check with gives {found!r}: anybody could send it"
