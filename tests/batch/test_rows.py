"""A row's request as it is sent: what its files come to is the row's own affair."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.batch import rows
from airflow_provider_imagetasks.batch.rows import sendable_request
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.batch.batches import ACCOUNT, Easel

EDIT = ImageRequest(prompt="a kite", images=["https://pictures.example/a.png"])


class ClientError(Exception):
    """As the libraries of object stores raise them: none that anybody here knows."""


def test_an_error_of_a_storage_that_nobody_knows_is_an_unbilled_refusal_that_a_retry_may_mend(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_request: ImageRequest, **_how: Any) -> Any:
        raise ClientError("at https://bucket.example/a.png?X-Amz-Signature=abcdef")

    monkeypatch.setattr(rows, "with_files_read", broken)

    with pytest.raises(InvalidRequestError, match="ClientError") as raised:
        sendable_request(EDIT, Easel(), ACCOUNT)

    assert (raised.value.billed, raised.value.retryable) == ("no", True)
    assert "abcdef" not in f"{raised.value}{caplog.text}"
    assert "Traceback" in caplog.text


def test_what_a_service_cannot_do_is_refused_as_such() -> None:
    with pytest.raises(InvalidRequestError, match="does not support edits"):
        sendable_request(EDIT, Easel(), ACCOUNT)
