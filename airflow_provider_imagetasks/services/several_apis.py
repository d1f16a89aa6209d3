"""One account, many APIs: a model ``api/model`` goes to that API, and its image task's id is ``api.<id>``.

The id alone then tells sensor, poller and download where to ask. What has no such prefix is the main API's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask


class SeveralApis(Service):
    """A service whose key reaches further APIs. It comes before the class that speaks the main API::

        class Studio(SeveralApis, StudioImages):
            further_apis = {"sketch": StudioSketches}

    A further API is a service of its own that knows nothing of the prefix; it goes by the name, the title and the
    console of the whole. All APIs of a service find lost submissions in the same way, or none does.
    """

    further_apis: ClassVar[Mapping[str, type[Service]]]
    """By the name before the slash of a model, and before the dot of an id or a trace id."""

    def __init__(self) -> None:
        self._apis = {name: api() for name, api in self.further_apis.items()}
        for api in self._apis.values():
            vars(api).update(name=self.name, title=self.title, console_url=self.console_url)

    def api_of(self, image_task_id: str) -> str:
        """Return which API an image task belongs to; empty for the main one."""
        return self._parted(image_task_id, ".")[0]

    def api_of_model(self, model: str | None) -> str:
        """Return which API a model is at; empty for the main one."""
        return self._parted(model or "", "/")[0]

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; what the model's API cannot do is refused."""
        api, model = self._parted(super().model_for(request, account), "/")
        if not api:
            return super().complete(request, account)
        of_api = self._apis[api].complete(replace(request, model=model or None), replace(account, default_model=None))
        return replace(of_api, model=f"{api}/{of_api.model or ''}")

    def model_for(self, request: ImageRequest, account: Account) -> str:
        """Return the model that a request is sent with; ``api/`` alone takes that API's default."""
        model = super().model_for(request, account)
        api, own = self._parted(model, "/")
        if not api or own:
            return model
        return f"{api}/{self._apis[api].model_for(replace(request, model=None), replace(account, default_model=None))}"

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars."""
        api, model = self._parted(request.model or "", "/")
        return self._apis[api].price_of(replace(request, model=model or None)) if api else super().price_of(request)

    def image_count_of(self, request: ImageRequest) -> int:
        """Return how many pictures a request asks its model's API for."""
        api, model = self._parted(request.model or "", "/")
        if not api:
            return super().image_count_of(request)
        return self._apis[api].image_count_of(replace(request, model=model or None))

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask the model's API for a picture."""
        api, model = self._parted(request.model or "", "/")
        if not api:
            return super().submit(request, key=key)  # type: ignore[safe-super]
        return self._named(api, self._apis[api].submit(replace(request, model=model or None), key=key))

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask its API for one image task."""
        api, own_id = self._parted(image_task_id, ".")
        if not api:
            return super().read_one(image_task_id)  # type: ignore[safe-super]
        return self._named(api, self._apis[api].read_one(own_id))

    def read_by_trace_id(self, trace_id: str) -> Flow[ImageTask]:
        """Ask for the image task of a trace id; one of a further API is written ``api.<trace id>``."""
        api, own = self._parted(trace_id, ".")
        return self._named(api, self._apis[api].read_by_trace_id(own)) if api else super().read_by_trace_id(trace_id)

    def find_in_api(self, api: str, trace_ids: Sequence[str]) -> Flow[list[ImageTask]]:
        """Return the image tasks of one API that carry one of some trace ids."""
        if not api:
            return self.find_by_trace_ids(trace_ids)
        return self._all_named(api, self._apis[api].find_by_trace_ids(trace_ids))

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        """Ask for image tasks, with one request for each API that they are of."""
        by_api: dict[str, list[str]] = {}
        for image_task_id in image_task_ids:
            api, own_id = self._parted(image_task_id, ".")
            by_api.setdefault(api, []).append(own_id)
        found: dict[str, ImageTask] = {}
        for api, own_ids in by_api.items():
            if not api:
                found |= yield from super().read_batch(own_ids)
                continue
            tasks = yield from self._naming(api, self._apis[api].read_batch(own_ids))
            found |= {f"{api}.{own_id}": self._of_api(api, task) for own_id, task in tasks.items()}
        return found

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        """Ask for the account's image tasks of one API.

        :param filters: those of the API; ``api`` names a further one, without it the main one is meant.
        """
        api = filters.pop("api", None)
        if not api:
            return super().list_tasks(**filters)
        if api not in self._apis:
            raise InvalidRequestError(f"api is {api!r}; {self.title} has {', '.join(self._apis)}")
        return self._all_named(api, self._apis[api].list_tasks(**filters))

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Ask its API to stop an image task."""
        api, own_id = self._parted(image_task_id, ".")
        return self._naming(api, self._apis[api].cancel(own_id)) if api else super().cancel(image_task_id)

    def _parted(self, name: str, separator: str) -> tuple[str, str]:
        """Return the API that a model, an id or a trace id names, and the rest; an empty API for the main one."""
        api, found, rest = name.partition(separator)
        return (api, rest) if found and api in self._apis else ("", name)

    def _named(self, api: str, flow: Flow[ImageTask]) -> Flow[ImageTask]:
        return self._of_api(api, (yield from self._naming(api, flow)))

    def _all_named(self, api: str, flow: Flow[list[ImageTask]]) -> Flow[list[ImageTask]]:
        return [self._of_api(api, task) for task in (yield from self._naming(api, flow))]

    @staticmethod
    def _naming(api: str, flow: Flow[Result]) -> Flow[Result]:
        """Run a flow of an API, and let its error speak of the image task by the id that is known here."""
        try:
            return (yield from flow)
        except ImageTaskError as error:
            _name_in(error, api)
            raise

    @staticmethod
    def _of_api(api: str, task: ImageTask) -> ImageTask:
        if task.error is not None:
            _name_in(task.error, api)
        task = replace(task, model=f"{api}/{task.model or ''}")
        if task.id.startswith(INLINE_PREFIX):
            return replace(task, id=inline_id(task))
        return replace(task, id=f"{api}.{task.id}") if task.id else task


def _name_in(error: ImageTaskError, api: str) -> None:
    if error.image_task_id:
        error.image_task_id = f"{api}.{error.image_task_id}"
