"""The contract of a service. One subclass per service; a family of protocols shares one class between them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.connection_contract import ConnectionContract
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX, LONGEST_TEXT, options_named, text, whole_number
from airflow_provider_imagetasks.services.inline_ids import task_from_inline_id
from airflow_provider_imagetasks.services.provider_batches import ProviderBatches
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import MOST_IMAGES, ImageFile, ImageRequest, ImageTask, TaskState, told

_PICTURES = ("image", "output", "result", "variant", "variation", "candidate", "picture", "generation")
_COUNTS = ("num_{}", "n_{}", "number_{}", "num_of_{}", "number_of_{}", "{}_num", "{}_number", "{}_count")
IMAGE_COUNT_OPTIONS = (
    *("n", "num", "count", "quantity", "max_images", "batch_size", "batch_count", "num_images_per_prompt"),
    *("samples", "num_samples", "n_samples", "sample_count", "images_per_prompt"),
    *(count.format(f"{noun}{plural}") for noun in _PICTURES for plural in ("", "s") for count in _COUNTS),
)
"""How models of many makers call the number of pictures; a service with names of its own adds them."""


STORED_FORMATS = ("png", "jpeg", "webp", "gif", "avif", "jpg", "auto", "")
"""Values of ``format_options`` whose result can be stored; what is left to the service is a picture."""


class Service(ConnectionContract):
    """A protocol, written once as flows: generators that yield requests and are sent answers, without I/O.

    The class attributes say what the service is and what it can do. What is called ``read_...`` asks once; what is
    called ``get_...``, ``find_...`` or ``list_...`` asks again where that helps.
    """

    default_model: ClassVar[str]
    """The model for a request that names none; likewise ``default_edit_model``."""
    default_edit_model: ClassVar[str]
    answers_hold_pictures: ClassVar[bool] = True
    """Whether an answer may hold the pictures themselves, in base64; where not, it is refused above 16 MiB."""
    records_hold_pictures: ClassVar[bool] = False
    """Whether every record of a finished image task holds its pictures, so that few are read at the same time."""
    poll_interval: ClassVar[float] = 10.0
    """Seconds between two status requests, where neither argument nor connection says."""
    batch_size: ClassVar[int] = 1
    """The most image tasks that one status request can ask for."""
    batch_leaves_out: ClassVar[bool] = False
    """Whether an answer for several may leave out image tasks that exist; each of those is then asked for alone."""
    requests_per_read: ClassVar[int] = 1
    """The most requests that one status question makes, whether for one image task or for ``batch_size``."""
    finds_by_trace_id: ClassVar[bool] = False
    repeats_submit_by_key: ClassVar[bool] = False
    """Whether a submission made again with the same key returns the same image task, at no further cost."""
    makes_edits: ClassVar[bool] = False
    takes_files: ClassVar[bool] = False
    """Whether edits may upload files, rather than only name URLs."""
    most_edit_images: ClassVar[int] = 16
    image_count_options: ClassVar[tuple[str, ...]] = IMAGE_COUNT_OPTIONS
    """The options that say how many pictures are asked for, also within other options; several of them multiply."""
    images_per_request: ClassVar[int] = 1
    """How many pictures a request brings that asks for one."""
    format_options: ClassVar[tuple[str, ...]] = ("output_format", "image_format")
    """The options that say of which kind the file of a picture is to be."""
    results_live_for: ClassVar[float | None] = None
    """Seconds for which the pictures can be fetched once they are made; None where the service does not say."""
    can_cancel: ClassVar[bool] = False
    """Whether :meth:`cancel` stops an image task. (A service may have the call, and go on all the same.)"""
    provider_batches: ClassVar[ProviderBatches | None] = None
    """Its batches, where it takes many requests as one file at a lower price."""
    unfinished_note: ClassVar[str] = "It goes on there: it may still finish, and be billed"
    """The fate of an image task that nobody waits for any longer."""

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent: with the model and callback URL that it or else the connection names.

        What it returns has to stay as it is when it is completed again: a batch does so right before it is sent.

        :raises InvalidRequestError: it asks for what the service cannot do.
        """
        self.check_options(request)
        callback_url = request.callback_url or account.callback_url
        if request.callback_url and not self.takes_callback_url:
            raise InvalidRequestError(f"{self.title} does not support callbacks: remove callback_url")
        if request.trace_id and not self.finds_by_trace_id:
            raise InvalidRequestError(f"{self.title} does not support trace ids: remove trace_id")
        if request.trace_id and text(request.trace_id) != request.trace_id.strip():
            # As it is read from records, by which a submission whose answer was lost is found again.
            raise InvalidRequestError(
                f"trace_id has control characters, or more than {LONGEST_TEXT:,} characters: a submission "
                "whose answer was lost could not be found by it"
            )
        if request.is_edit:
            self._check_edit(request)
        model = self.model_for(request, account)
        if request.prompt is None and self.needs_prompt(model):
            raise InvalidRequestError(
                f"prompt is missing: {self.title} accepts pictures for {model} only with a prompt"
            )
        callback_url = (callback_url or self.fallback_callback_url) if self.takes_callback_url else None
        return request.with_model(model or None, callback_url=callback_url)

    def model_for(self, request: ImageRequest, account: Account) -> str:
        """Return the model that a request is sent with: its own, or the connection's, or the service's."""
        return (
            request.model
            or account.default_model
            or (self.default_edit_model if request.is_edit else self.default_model)
        )

    def results_life(self, request: ImageRequest) -> float | None:
        """Return the seconds for which the pictures of a request can be fetched; None where that is not known."""
        return self.results_live_for

    def needs_prompt(self, model: str) -> bool:
        """Whether a model takes pictures only with a prompt that says what to do with them."""
        return True

    def image_count(self, asked: Mapping[str, Any]) -> int:
        """Return how many pictures a request asks for; one where it does not say.

        :param asked: its options, or what a record repeats of it.
        """
        pictures = self.images_per_request
        for _, value in options_named(self.image_count_options, asked):
            count = whole_number(value)
            if count and 0 < count <= MOST_IMAGES:
                pictures *= count
        return pictures

    def image_count_of(self, request: ImageRequest) -> int:
        """Return how many pictures a request asks for, as prices and ``max_cost`` count them.

        :param request: its model filled in.
        """
        return self.image_count(request.options)

    def check_options(self, request: ImageRequest) -> None:
        """Refuse options that would be paid for in vain: an impossible number of pictures, a file that is no picture.

        :raises InvalidRequestError: names the option. Nothing was billed.
        """
        self.check_image_count(request)
        for name, value in options_named(self.format_options, request.options):
            if isinstance(value, str) and value.strip().lower().removeprefix("image/") not in STORED_FORMATS:
                raise InvalidRequestError(
                    f"options holds {name}={value[:40]!r}, which this package cannot store, so the picture would be "
                    f"paid for in vain; pictures may be {', '.join(STORED_FORMATS[:5])}"
                )

    def check_image_count(self, request: ImageRequest) -> None:
        """Refuse a request that does not say in whole numbers how many pictures it asks for: each is paid for."""
        given = [*options_named(self.image_count_options, request.options)]
        are_numbers = not given or all(
            re.fullmatch(r"[0-9]{1,3}(\.0{1,3})?", str(value)) and 0 < float(value) <= MOST_IMAGES for _, value in given
        )
        if not are_numbers or self.image_count_of(request) > MOST_IMAGES:
            said = ", ".join(f"{name}={told(value)[:80]}" for name, value in given)[:400]
            raise InvalidRequestError(
                f"options holds {said}; the number of pictures must be a whole number from 1 to {MOST_IMAGES}"
            )

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars; None where there is none, or more than one.

        :param request: its model filled in.
        """
        return None

    def _check_edit(self, request: ImageRequest) -> None:
        if not self.makes_edits:
            raise InvalidRequestError(f"{self.title} does not support edits: remove images and mask")
        if len(request.images) > self.most_edit_images:
            raise InvalidRequestError(
                f"images holds {len(request.images)} pictures; {self.title} takes at most {self.most_edit_images}"
            )
        files = [isinstance(image, ImageFile) for image in request.images]
        if not self.takes_files:
            if any(files):
                raise InvalidRequestError(
                    f"images holds a file, but {self.title} only accepts URLs: put the picture where it can fetch it"
                )
            if request.mask is not None:
                raise InvalidRequestError(f"{self.title} does not support masks: remove mask")
        if any(files) and not all(files):
            raise InvalidRequestError("images mixes URLs and files; give only URLs, or only files")
        if request.mask is not None and not (isinstance(request.mask, ImageFile) and all(files)):
            raise InvalidRequestError("mask must be a file, and so must images: a mask can only be uploaded")

    @staticmethod
    def require_pictures_once(request: ImageRequest, images_field: str) -> None:
        """Refuse pictures that are given both as ``images`` and by the service's own option for them.

        :raises InvalidRequestError: nothing was billed.
        """
        if request.is_edit and request.options.get(images_field):
            raise InvalidRequestError(
                f"pictures are given twice, in images and in options[{images_field!r}]; give them once"
            )

    @abstractmethod
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture. Costs money.

        :param request: completed.
        :param key: identifies this submission among all others; the same on a retry of the same submission.
        :raises UnknownOutcomeError: the service may have taken it.
        :raises ImageTaskError: it did not.
        """

    @abstractmethod
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask once for one image task by its id; state ``not_found`` where the service does not know it. Free."""

    def read_by_trace_id(self, trace_id: str) -> Flow[ImageTask]:
        """Ask once for one image task by the trace id it was submitted with. Free.

        :raises InvalidRequestError: the service cannot look up by trace id.
        """
        yield from ()
        raise InvalidRequestError(f"{self.title} cannot look up image tasks by trace id; use image_task_id")

    def find_by_trace_ids(self, trace_ids: Sequence[str]) -> Flow[list[ImageTask]]:
        """Return every image task that carries one of some trace ids, asking again where that helps. Free.

        For a service that ``finds_by_trace_id``; how submissions whose answer was lost are found again.

        :param trace_ids: at most 50.
        """
        found: list[ImageTask] = []
        for trace_id in trace_ids:
            task = yield from self.get_task_by_trace_id(trace_id)
            found += [task] if task.state is not TaskState.NOT_FOUND else []
        return found

    def api_of(self, image_task_id: str) -> str:
        """Return which of the service's APIs an image task is at: one status request asks for those of one API only."""
        return ""

    def api_of_model(self, model: str | None) -> str:
        """Return which of the service's APIs a model is at."""
        return ""

    def find_in_api(self, api: str, trace_ids: Sequence[str]) -> Flow[list[ImageTask]]:
        """Do what :meth:`find_by_trace_ids` does, in one of the service's APIs."""
        return self.find_by_trace_ids(trace_ids)

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        """Ask once for at most ``batch_size`` image tasks. Unknown ones come as ``not_found``. Free."""
        tasks = {}
        for image_task_id in image_task_ids:
            tasks[image_task_id] = yield from self.read_one(image_task_id)
        return tasks

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        """Ask for the account's image tasks. Free.

        :param filters: the service's own, by name.
        :raises InvalidRequestError: the service has no list, or not that filter.
        """
        yield from ()
        raise InvalidRequestError(f"{self.title} cannot list image tasks")

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Ask the service to stop an image task, and return what that means for the bill.

        :raises InvalidRequestError: the service cannot.
        """
        yield from ()
        raise InvalidRequestError(
            f"{self.title} cannot cancel: the image task goes on",
            image_task_id=image_task_id,
            billed="unknown",
            retry_advice="A retry would be refused in the same way.",
        )

    @abstractmethod
    def check_connection(self) -> Flow[str]:
        """Make a free request that shows whether the key is good, and say what it showed.

        :raises ImageTaskError: what is wrong.
        """

    def get_task(self, image_task_id: str) -> Flow[ImageTask]:
        """Return one image task, asking again where that helps; an ``inline:`` id needs no request."""
        if image_task_id.startswith(INLINE_PREFIX):
            return task_from_inline_id(image_task_id, self.name)
        return (yield from exchange.patiently(lambda: self.read_one(image_task_id)))

    def get_task_by_trace_id(self, trace_id: str) -> Flow[ImageTask]:
        """Return the image task of a trace id, asking again where that helps."""
        return exchange.patiently(lambda: self.read_by_trace_id(trace_id))

    def read_tasks_once(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        """Ask once for at most ``batch_size`` image tasks, in the given order; ``inline:`` ids need no request. Free.

        Unknown ones come as ``not_found``, unless the service ``batch_leaves_out`` some, to be asked for alone.
        """
        found = {
            each: task_from_inline_id(each, self.name) for each in image_task_ids if each.startswith(INLINE_PREFIX)
        }
        remote = [each for each in image_task_ids if each not in found]
        if remote:
            found.update((yield from self.read_batch(remote)))
        if self.batch_leaves_out and len(remote) > 1:
            return {each: found[each] for each in image_task_ids if each in found}
        return {each: found.get(each) or self.not_found(each) for each in image_task_ids}

    def submitted(
        self, image_task_id: str, request: ImageRequest, at: float, raw: Mapping[str, Any], **known: Any
    ) -> ImageTask:
        """Return the stand-in for an image task that the service took at ``at``, in Unix seconds.

        :param known: further fields of it.
        """
        return ImageTask(
            id=image_task_id,
            service=self.name,
            state=TaskState.RUNNING,
            raw_state="submitted",
            model=request.model,
            prompt=request.prompt,
            image_count_requested=self.image_count(request.options),
            created_at=at,
            raw=raw,
            **known,
        )

    def not_asked(self, image_task_id: str, problem: str = "") -> ImageTask:
        """Return the stand-in for an image task that no answer came for in time; ``problem`` is why, where known."""
        why = problem or "it could not be asked in time (because of a pause that it asked for, or query_rate)"
        state, raw_state = TaskState.RUNNING, f"nothing, since {why}"
        return ImageTask(id=image_task_id, service=self.name, state=state, raw_state=raw_state)

    def not_found(self, image_task_id: str, raw: Mapping[str, Any] | None = None) -> ImageTask:
        """Return the stand-in for an image task that the service does not know."""
        state = TaskState.NOT_FOUND
        return ImageTask(id=image_task_id, service=self.name, state=state, has_record=False, raw=raw or {})

    @property
    def how_to_look(self) -> str:
        """The place where a person finds out what became of a submission."""
        place = f" at {self.console_url}" if self.console_url else ""
        return f"Look at the account's image tasks and charges{place} around that time before you Clear."
