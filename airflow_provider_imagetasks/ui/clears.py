"""What can be done about a failure: which task instance a Clear is to begin with, and what it pays. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks import exceptions
from airflow_provider_imagetasks.exceptions import ImageTaskError

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

_ASK_AGAIN = frozenset({"ImageTaskTimeoutError", "ImageTaskNotFoundError", "ResultExpiredError"})
"""Failures of a wait or a download that another one may mend, and else a new picture."""
_NEW_PICTURE = frozenset({"ImageTaskFailedError", "ContentPolicyError", "UnsafeResultError"})
"""Failures of an image task that can only be made anew."""
_OF_ROWS = {
    "failed": "Clear the task to repeat its failed rows. To change a request, start a new Dag run.",
    "success": "Request it in a new Dag run: a Clear would make all pictures of this batch anew.",
}


def advice_of(error_class: str | None) -> str | None:
    """Return what the log advises after an error of a class of ours, where it says nothing more exact."""
    known = getattr(exceptions, error_class or "", None)
    if isinstance(known, type) and issubclass(known, ImageTaskError):
        return known.default_advice
    return None


def advice_of_batch(task_state: str | None) -> str | None:
    """Return what to do about a failed row of a batch, whose requests are the same after each Clear.

    :param task_state: of its task instance.
    """
    return _OF_ROWS.get(task_state or "")


def may_need_new_picture(error_class: str | None) -> bool:
    """Whether a failure of an image task may only be mended by one that is paid for."""
    return error_class in _NEW_PICTURE | _ASK_AGAIN


def clears_of(error_class: str | None, failed: XCom, submission: XCom | None) -> list[dict[str, Any]]:
    """Return the Clears that may mend a failure, the most advisable first; each takes what comes downstream with it.

    Each is ``{task_id, map_index, pays}``, and in a loop the iteration's ``{iteration, region_id, region_index,
    instance_id}``; ``pays`` is ``"picture"`` (a new one is paid for), ``"maybe"`` (paid twice
    if the first was accepted), ``"rows"`` (each failed row of a batch), or ``"nothing"``.

    :param failed: what the failed task instance pushed.
    :param submission: what was pushed when the image task was submitted; None where another run or nobody did.
    """
    if failed.key == "image_task_refused":
        return [_clear(failed, "maybe" if error_class == "UnknownOutcomeError" else "picture")]
    again = _clear(failed, "nothing")
    anew = [_clear(submission, "picture")] if submission is not None else []
    if error_class in _NEW_PICTURE and anew:
        return anew
    return [again, *anew] if error_class in _ASK_AGAIN else [again]


def clears_of_batch(batch: XCom, task_state: str | None) -> list[dict[str, Any]]:
    """Return the Clear that repeats the failed rows of a batch and keeps the delivered ones.

    :param task_state: of its task instance; a Clear of one that succeeded would make all pictures anew.
    """
    return [_clear(batch, "rows")] if task_state == "failed" else []


def _clear(at: XCom, pays: str) -> dict[str, Any]:
    # Neither task id nor map index names an iteration of a loop.
    instance = {"instance_id": at.instance_id} if at.region else {}
    return {"task_id": at.task_id, **at.coordinates, **instance, "pays": pays}
