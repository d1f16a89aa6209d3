"""The requests of a batch: read, checked one by one, and frozen. Later starts read only what was frozen."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.rows import Row, frozen_request, read_row, refusal_of_row
from airflow_provider_imagetasks.batch.segments import json_line
from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.files.filenames import holds, longest_name, pattern_for_row
from airflow_provider_imagetasks.files.object_storage import fetch_existing, open_folder, shown_path, uri_of
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageRequest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

LONGEST_LINE = 4 * 1024 * 1024
NAMED_PROBLEMS = 10


@dataclass(kw_only=True)
class Frozen:
    """Totals of the requests.

    :param invalid: rows that cannot be asked for; ``problems`` says what is wrong with the first of them.
    :param repeated: rows that ask for the same as an earlier one.
    :param cost: of all pictures, None where not all prices are known; ``unpriced`` names those models.
    :param digest: SHA-256 of the file that they came from, None where they came from the Dag.
    """

    total: int = 0
    invalid: int = 0
    problems: list[str] = field(default_factory=list)
    repeated: int = 0
    cost: float | None = 0.0
    unpriced: set[str] = field(default_factory=set)
    digest: str | None = None


class RequestsSource:
    """Where the rows come from: a sequence out of the Dag, or a file.

    :param rows: prompts or requests; None where there is a file.
    :param path: a JSONL file on any ``ObjectStoragePath``.
    """

    def __init__(self, rows: Iterable[Any] | None, path: str | None) -> None:
        self._rows = rows
        self._path = path

    @property
    def files_below(self) -> str | None:
        """The local folder that rows may name files in."""
        if self._path is None:
            return None
        uri = uri_of(self._place())
        return str(Path(uri.removeprefix("file://")).parent) if uri.startswith("file://") else None

    def _place(self) -> ObjectStoragePath:
        return open_folder(str(self._path), name="requests_path")

    def rows(self) -> Iterable[Any]:
        """Return the rows out of the Dag."""
        return self._rows or ()

    def values(self, scratch: Path, frozen: Frozen) -> Iterator[tuple[str, Any]]:
        """Yield each row with its place, an ``InvalidRequestError`` for one that cannot be read.

        :param scratch: where the file may be copied to.
        :param frozen: is told the file's digest.
        """
        if self._path is None:
            yield from ((f"row {number}", value) for number, value in enumerate(self.rows()))
            return
        copy = scratch / "source"
        frozen.digest = self.fetch(copy)
        with copy.open("rb") as file:
            yield from _lines(file)

    def fetch(self, target: Path) -> str | None:
        """Copy the file, and return its SHA-256; None where the rows come from the Dag.

        :raises InvalidRequestError: there is no such file.
        """
        if self._path is None:
            return None
        try:
            found = fetch_existing(self._place(), target)
        except DownloadError as error:
            raise InvalidRequestError(
                f"requests_path cannot be read: {error.message}",
                retryable=True,
                retry_advice="A retry reads it again.",
            ) from error.__cause__
        if not found:
            raise InvalidRequestError(f"requests_path is {shown_path(self._path)!r}, and there is no such file")
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def rows_of(value: Any) -> RequestsSource:
    """Return the rows that an argument or a function's result holds.

    :raises InvalidRequestError: it is neither a text, a dict nor a sequence of them.
    """
    if isinstance(value, str | Mapping):
        return RequestsSource([value], None)
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        why = "did their template render nothing" if value is None else f"they are {type(value).__name__}"
        raise InvalidRequestError(
            f"The rows of the batch cannot be read ({why}); give a prompt, or a sequence of prompts or requests"
        )
    return RequestsSource(value, None)


def file_of(value: Any) -> RequestsSource:
    """Return the rows of a file.

    :raises InvalidRequestError: the template rendered to an empty path.
    """
    path = str(value).strip()
    if not path or path == "None":
        raise InvalidRequestError(f"requests_path is {value!r}; did its template render nothing?")
    return RequestsSource(None, path)


def freeze(source: RequestsSource, target: Path, arguments: BatchArguments) -> Frozen:
    """Check all rows and write them down, each as one line with its index. One bad row does not spoil the others.

    :param target: a local file.
    :raises InvalidRequestError: there is no row at all, or the names of pictures would collide.
    """
    frozen = Frozen()
    below = source.files_below
    seen: set[bytes] = set()
    named_by = {name for name in ("image_task_id", "row", "id") if holds(arguments.filename, name)}
    names: set[str] | None = set() if named_by == {"id"} else None
    line: dict[str, Any]
    with target.open("wb") as file:
        for place, value in source.values(target.parent, frozen):
            try:
                row = _checked(value, arguments, below)
                asked = _with_model(row.request, arguments)
                pattern = _pattern(row, asked, frozen.total, arguments, names)
                cost = arguments.cost_of(asked)
            except Exception as broken:  # noqa: BLE001 - whatever one row does, the others are asked for
                error = refusal_of_row(broken, is_logged=frozen.invalid < NAMED_PROBLEMS)
                frozen.invalid += 1
                if len(frozen.problems) < NAMED_PROBLEMS:
                    frozen.problems.append(f"{place}: {error.message.rstrip('.')}")
                error.message = f"{place[0].upper()}{place[1:]}: {error.message}"
                line = {"index": frozen.total, "id": None, "prompt": None, "error": error.as_xcom()}
            else:
                line = row.as_json(frozen.total)
                digest = hashlib.sha256(json_line({**line, "index": 0, "id": None})).digest()[:12]
                line["filename"] = pattern
                frozen.repeated += digest in seen
                seen.add(digest)
                if cost is None:
                    frozen.unpriced.add(asked.model or "")
                frozen.cost = None if cost is None or frozen.cost is None else frozen.cost + cost
            file.write(json_line(line))
            frozen.total += 1
    if not frozen.total:
        raise InvalidRequestError("The batch is empty: there is nothing to submit. Did an upstream task push no rows?")
    if frozen.total > 1 and not named_by:
        raise InvalidRequestError(
            f"filename {arguments.filename!r} gives several pictures one name; add {{image_task_id}}, {{row}} or {{id}}"
        )
    return frozen


def _checked(value: Any, arguments: BatchArguments, files_below: str | None) -> Row:
    if isinstance(value, InvalidRequestError):
        raise value
    row = read_row(value, model=arguments.model, options=arguments.options, files_below=files_below)
    request = row.request
    if arguments.provider_batches is not None:
        arguments.provider_batches.group_of(request)
    if all(str(image).startswith(("http://", "https://")) for image in request.images) and request.mask is None:
        completed = arguments.service.complete(request, arguments.account)
        request = completed.with_model(completed.model, callback_url=None)
    else:
        arguments.service.check_options(request)
    return Row(request=request, id=row.id)


def _pattern(row: Row, asked: ImageRequest, index: int, arguments: BatchArguments, names: set[str] | None) -> str:
    """Return the pattern of the names of a row's pictures, which are all of a sane length, and no other row's.

    :param asked: its request, the model filled in.
    :param names: those of earlier rows; None where names always differ.
    """
    count = arguments.service.image_count_of(asked)
    if count > 1 and not holds(arguments.filename, "index"):
        raise InvalidRequestError(f"it asks for {count} pictures, and filename has no {{index}}")
    if names is not None and row.id is None:
        raise InvalidRequestError("it has no id, and filename needs one")
    pattern = pattern_for_row(arguments.filename, row=index, row_id=row.id)
    name = longest_name(pattern).lower()
    if names is not None:
        if name in names:
            raise InvalidRequestError(
                f"the id {row.id!r} gives its pictures the same names as those of an earlier row (some stores ignore "
                "case), and filename distinguishes pictures by id alone; add {row}"
            )
        names.add(name)
    return pattern


def _with_model(request: ImageRequest, arguments: BatchArguments) -> ImageRequest:
    return request.with_model(arguments.service.model_for(request, arguments.account))


def _lines(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        place = f"line {number}"
        if len(line) >= LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield place, InvalidRequestError(f"it has more than {LONGEST_LINE:,} bytes")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        yield place, _parsed(line)


def _parsed(line: bytes) -> Any:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return InvalidRequestError(f"it is not UTF-8 (byte {error.start + 1})")
    except (ValueError, RecursionError) as error:
        return InvalidRequestError(f"it is not JSON ({error})")
    if not isinstance(value, dict):
        return InvalidRequestError(f"it is {type(value).__name__}, not an object with a prompt")
    return value


def damaged(what: str) -> ImageTaskError:
    """Return the error of a start that finds a part of its batch damaged: it submits nothing."""
    return ImageTaskError(
        f"{what}. Without it nobody can tell what was already paid for, so nothing is submitted; what was submitted "
        "before goes on at the service",
        code="batch_folder",
        retry_advice="Restore it, then Clear. If it is gone for good, start a new Dag run.",
    )


class FrozenRequests:
    """The frozen rows, read one at a time from a local copy: memory holds only where each begins."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._offsets = array("Q")
        position = 0
        for line in self._file:
            self._offsets.append(position)
            position += len(line)

    def __len__(self) -> int:
        return len(self._offsets)

    def line(self, index: int) -> dict[str, Any]:
        """Return what was frozen of a row.

        :raises ImageTaskError: it is damaged, so that nothing can be submitted from it or said of it.
        """
        self._file.seek(self._offsets[index])
        try:
            value: dict[str, Any] = json.loads(self._file.readline().decode())
            if value["index"] != index:
                raise ValueError(f"it is row {value['index']!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(
                f"What was frozen of row {index} is not what was written (requests.jsonl, line {index + 1}: {error})"
            ) from error
        return value

    def request(self, index: int) -> ImageRequest:
        """Return the request of a row, to be submitted.

        :raises InvalidRequestError: it could not be asked for when it was frozen; says why.
        """
        try:
            line = self.line(index)
        except ImageTaskError as error:
            # It is not submitted, whatever was before.
            error.billed = "no"
            raise
        problem = line.get("error")
        if problem:
            raise InvalidRequestError(problem["message"])
        return frozen_request(line)

    def cost(self, arguments: BatchArguments, index: int, pictures: int | None = None) -> float | None:
        """Return what the pictures of a row cost, None where it is not known; an invalid row costs nothing.

        :param arguments: its prices count, not those of the start that froze the row.
        :param pictures: how many came of it; None where it is only known how many it asks for.
        """
        line = self.line(index)
        try:
            if line.get("error"):
                return 0.0
            return arguments.cost_of(_with_model(frozen_request(line), arguments), pictures)
        except InvalidRequestError:
            # An earlier version froze, and perhaps submitted, what is refused by now.
            return None

    def life(self, service: Service, index: int) -> float | None:
        """Return the seconds for which the pictures of a row can be fetched, None where that is not known."""
        with suppress(InvalidRequestError):
            return service.results_life(frozen_request(self.line(index)))
        return service.results_live_for

    def api(self, index: int, arguments: BatchArguments) -> str:
        """Return which of the service's APIs a row goes to."""
        return arguments.service.api_of_model(self.line(index).get("model") or arguments.account.default_model)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
