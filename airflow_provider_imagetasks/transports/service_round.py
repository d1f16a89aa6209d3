"""A service that is run for its check: what its flows come to, and what they send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from airflow_provider_imagetasks.transports.answering_server import AnsweringServer, Reply, Steps
from airflow_provider_imagetasks.transports.service_facts import ServiceAnswers

KEY = "key-of-the-check"
PROMPT = "a red kite over the sea"
PICTURE = "https://pictures.example/given-to-the-check.png"
MASK = "https://pictures.example/mask-of-the-check.png"
FILES = tuple(
    ImageFile(name=f"{name}.png", media_type="image/png", content=f"{name}-of-the-check".encode())
    for name in ("picture", "mask")
)
CALLBACK = "https://callback.invalid/of-the-check"
OPTION = "an-option-of-the-check"
ODD_ID = "a/b?c=d#e%2F"
"""An image task's own id that leads elsewhere where it is put into a path as it is."""
SUBMISSION_KEY = "5ub" * 21 + "5"
"""As long as those of submissions are."""


class Surprise(str):
    """An exception that is none of ours, as a text."""

    __slots__ = ()


class ServiceRound:
    """A service over one transport, as it meets a server that answers as it is told."""

    _request: ImageRequest
    """What is submitted where nothing else is said."""

    def __init__(
        self,
        service: Service,
        answers: ServiceAnswers,
        server: AnsweringServer,
        run: Callable[[Flow[Any], Account, Steps], Any],
        model: str | None,
    ) -> None:
        self._service, self._answers, self._server, self._run = service, answers, server, run
        self._account = Account(
            conn_id="check",
            service=service.name,
            base_url=f"http://127.0.0.1:{server.server_port}",
            key=KEY,
            trust_env=False,
            request_timeout=5.0,
            key_header=service.key_header,
            key_scheme=service.key_scheme,
        )
        self._model, self._steps, self._leaks = model, Steps(), dict[str, None]()

    def _completed(self, **fields: Any) -> ImageRequest | Surprise:
        """Return a request as it is sent."""
        options = {"option_of_the_check": OPTION}
        asked = ImageRequest(**{"prompt": PROMPT, "model": self._model, "options": options, **fields})
        try:
            completed = self._service.complete(asked, self._account)
            again = self._service.complete(completed, self._account)
        except Exception as error:  # noqa: BLE001 - whatever a service does is told
            return Surprise(f"{type(error).__name__}: {error}")
        if options != {"option_of_the_check": OPTION}:
            return Surprise("its options are changed, which the Dag may use for another request")
        if again != completed:
            return Surprise("completed again, as a batch does right before it sends it, it is another request")
        return completed

    def _outcome(self, make: Callable[[], Flow[Any]], replies: Reply | list[Reply]) -> Any:
        """Return what a flow returns or raises; an exception that is none of ours as a text."""
        self._server.script(replies)
        self._steps = Steps()
        try:
            return self._run(make(), self._account, self._steps)
        except ImageTaskError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a service does is told
            return Surprise(f"{type(error).__name__}: {error}")
        finally:
            if any(KEY in path + body for path, _headers, body in self._server.requests):
                self._leaks["the key stands in the address or the body of a request"] = None

    def _submit(self, reply: Reply, request: ImageRequest | None = None) -> Any:
        asked = request or self._request
        return self._outcome(lambda: self._service.submit(asked, key=SUBMISSION_KEY), reply)

    def _sent(self) -> str:
        """Return all that the last flow sent."""
        return "".join(f"{path}{headers}{body}" for path, headers, body in self._server.requests)

    def _names_it(self) -> bool:
        own_id = self._answers.image_task_id.rpartition(".")[2]
        return own_id in unquote("".join(path + body for path, _headers, body in self._server.requests))

    def _leads_astray(self, make: Callable[[str], Flow[Any]]) -> bool:
        """Whether a question that names the image task asks for something else where its id is an odd one."""
        first, dot, _own_id = self._answers.image_task_id.rpartition(".")
        self._outcome(lambda: make(self._answers.image_task_id), self._answers.not_found)
        is_named = self._names_it()
        self._outcome(lambda: make(f"{first}{dot}{ODD_ID}"), self._answers.not_found)
        return is_named and not all(map(_names_odd_id, self._server.requests))

    def _goes_out_without_the_key(self) -> bool:
        said = f"{self._service.key_scheme} {KEY}" if self._service.key_scheme else KEY
        name = self._service.key_header.lower()
        return any(
            {each.lower(): value for each, value in headers.items()}.get(name) != said
            for _path, headers, _body in self._server.requests
        )

    def _read(self, replies: Reply | list[Reply]) -> Any:
        return self._outcome(lambda: self._service.read_one(self._answers.image_task_id), replies)


def _names_odd_id(request: tuple[str, Mapping[str, str], str]) -> bool:
    """Whether a request holds it where it is read as one: in a part of the path, a parameter or the body."""
    target, _headers, body = request
    path, _, query = target.partition("?")
    parameters = [value for _, value in parse_qsl(query)]
    return any(ODD_ID in part for part in (*map(unquote, path.split("/")), *parameters, body, unquote_plus(body)))
