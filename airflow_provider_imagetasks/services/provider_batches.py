"""The contract of a service that takes many requests as one file, makes them within a day, and asks less for that."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import Flow, Request
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask

_PLACE = re.compile(r"(.+)\.([1-9][0-9]{0,6})", re.DOTALL)
_CUSTOM_ID = re.compile(r"([0-9a-f]{24})-([0-9]{1,9})")


@dataclass(frozen=True, kw_only=True)
class LineError:
    """What a service says of a line of a file of requests that it did not take as a whole.

    :param line: its number, from 1; None where it speaks of all of them.
    :param error: not billed.
    """

    line: int | None
    error: ImageTaskError


@dataclass(frozen=True, kw_only=True)
class ProviderBatch:
    """What a service says of one of its batches at one moment.

    :param id: the service's.
    :param status: the service's own word.
    :param is_over: whether nothing more will come of it.
    :param was_refused: whether it was not taken as a whole, so that nothing of it was made or billed.
    :param is_partial: whether it ended before everything was made.
    :param completed: how many of its requests have a picture; None where the service does not say.
    :param result_files: that hold the lines of its results, pictures first.
    :param picture_file: the one among them that holds pictures; None where none is named.
    :param errors: why it was refused.
    :param key: by which it was created; None where the service tells none.
    :param created_at: Unix seconds.
    """

    id: str
    status: str
    is_over: bool
    was_refused: bool = False
    is_partial: bool = False
    completed: int | None = None
    result_files: tuple[str, ...] = ()
    picture_file: str | None = None
    errors: tuple[LineError, ...] = ()
    key: str | None = None
    created_at: float | None = None

    @cached_property
    def reasons(self) -> Mapping[int | None, ImageTaskError]:
        """Why it was refused: the first error of each line, and under None that of all of them."""
        return {each.line: each.error for each in reversed(self.errors)}


@dataclass(frozen=True, kw_only=True)
class ResultLine:
    """One line of a file of results.

    :param custom_id: of the request, as it was sent.
    :param images: its pictures; none where there is an error.
    :param usage: the service's own account of what it used.
    :param error: why there is none.
    """

    custom_id: str
    images: tuple[GeneratedImage, ...] = ()
    model: str | None = None
    usage: Mapping[str, Any] | None = None
    created_at: float | None = None
    error: ImageTaskError | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a service has of batches, as far as they may be one that is looked for.

    :param found: those with its key.
    :param is_complete: whether everything was listed that it could be, with the keys by which it would be recognised.
    """

    found: Sequence[ProviderBatch] = ()
    is_complete: bool = True


@dataclass(frozen=True, kw_only=True)
class RequestGroup:
    """What the requests of one file have in common: a service takes no others in the same file."""

    endpoint: str
    model: str


class ProviderBatches(ABC):
    """Batches of a service, written as flows. Only :meth:`create` costs money; a service has at most one of these."""

    most_rows: ClassVar[int]
    """Requests of one file."""
    most_input_bytes: ClassVar[int]
    """Bytes of one file of requests, which is sent out of memory."""
    price_share: ClassVar[float]
    """What a picture costs in a batch, as a share of its price alone."""
    poll_interval: ClassVar[float] = 75.0
    """Seconds between two questions for one batch; they may come after 0.8 of it."""

    @abstractmethod
    def group_of(self, request: ImageRequest) -> RequestGroup:
        """Return which file a request can be in.

        :param request: completed.
        :raises InvalidRequestError: it can be in none.
        """

    @abstractmethod
    def line_of(self, request: ImageRequest, custom_id: str) -> bytes:
        """Return the line of a file of requests.

        :param request: completed, its files read.
        """

    @abstractmethod
    def expected_bytes(self, request: ImageRequest) -> int:
        """Return how long the line of its result will be, some bytes more or less."""

    @abstractmethod
    def upload(self, content: bytes, key: str) -> Flow[str]:
        """Hand over a file of requests, again where no answer comes, and return its id. Free."""

    @abstractmethod
    def create(
        self, file_id: str, group: RequestGroup, key: str, *, names: Mapping[str, str], how_to_look: str
    ) -> Flow[ImageTask]:
        """Have a file of requests made, and return what stands for the batch. Costs money.

        :param key: by which it is found again where the answer is lost.
        :param names: what a person at the service's console may want to know of it.
        :raises UnknownOutcomeError: the service may have taken it; never made again.
        :raises ImageTaskError: it did not.
        """

    @abstractmethod
    def read(self, batch_id: str) -> Flow[ImageTask]:
        """Ask once for a batch; state ``not_found`` where the service does not know it. Free."""

    @abstractmethod
    def batch_of(self, task: ImageTask) -> ProviderBatch:
        """Return what :meth:`read` or :meth:`create` was answered."""

    @abstractmethod
    def find(self, key: str, *, since: float) -> Flow[Listing]:
        """Look for the batch of a key, created at ``since`` in Unix seconds or later. Free."""

    @abstractmethod
    def cancel(self, batch_id: str) -> Flow[str]:
        """Ask the service to stop a batch, and return what that means for the bill."""

    @abstractmethod
    def content_request(self, file_id: str) -> Request:
        """Return the request for the content of a file."""

    @abstractmethod
    def content_refused(self, status: int, content: bytes) -> ImageTaskError:
        """Return why a content is not to be had."""

    @abstractmethod
    def custom_id_in(self, beginning: bytes) -> str | None:
        """Return the custom id of a line of results by its first bytes; None where they do not tell."""

    @abstractmethod
    def read_line(self, line: bytes) -> ResultLine:
        """Return what a line of results says.

        :raises ValueError: it is none.
        """

    def results_in(self, line: bytes) -> Sequence[bytes]:
        """Return the results that a line holds which is none: several where the ends of lines are lost."""
        return (line,)


def place_of(image_task_id: str) -> tuple[str, int] | None:
    """Return the batch that a row is in, and the number of its line, from 1; None for an id of another kind."""
    match = _PLACE.fullmatch(image_task_id)
    return (match[1], int(match[2])) if match else None


def placed_id(batch_id: str, line: int) -> str:
    """Return the image task id of a row: its batch, and the number of its line."""
    return f"{batch_id}.{line}"


def custom_id(identity: str, row: int) -> str:
    """Return what a row's result is recognised by, in whichever order results come.

    :param identity: of all that belongs together.
    """
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}-{row}"


def row_in(told: str, identity: str) -> int | None:
    """Return the row of a custom id; None for one that belongs to something else."""
    match = _CUSTOM_ID.fullmatch(told)
    return int(match[2]) if match and told == custom_id(identity, int(match[2])) else None
