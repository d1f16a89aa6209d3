"""The URLs by which a service wakes a waiting task: each is signed, and says which submission it is about.

A service that is told one URL for all of an account gets one that says only which connection it is about.

Off unless ``[imagetasks] callback_base_url`` and ``callback_secret`` are both set.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, fields

from airflow.providers.common.compat.sdk import conf
from itsdangerous import BadSignature, Signer

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.tasks import is_web_address

PATH = "/imagetasks/callback"
POLL_INTERVAL = 60.0
"""Seconds between two status requests, at least, where a callback comes anyway."""
SHORTEST_SECRET = 16
_SALT = "airflow_provider_imagetasks.callback"
_LONGEST_TOKEN = 4_096


@dataclass(frozen=True, kw_only=True)
class CallbackPlace:
    """Which submission a callback is about; without a Dag, which account.

    :param map_index: -1 for a task that is not mapped.
    :param item_index: position in a batch.
    :param region: as of a ``SubmissionSlot``: which iteration of a loop, on Airflow 3.4.
    """

    conn_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    item_index: int = 0
    region: str = ""

    @property
    def is_of_account(self) -> bool:
        """Whether it is about an account, so that only what is signed says which image task it is about."""
        return not self.dag_id


def callback_url_of(slot: SubmissionSlot, account: Account, service: Service) -> str | None:
    """Return the URL that wakes whoever waits for this submission; None where Airflow is not called back.

    :raises InvalidRequestError: the configuration cannot be used; nothing was submitted.
    """
    base_url, secret = _settings()
    if secret is None or not are_used_for(account, service):
        return None
    place = {field.name: getattr(slot, field.name) for field in fields(CallbackPlace) if field.name != "conn_id"}
    return f"{base_url}{PATH}/{sign(CallbackPlace(conn_id=account.conn_id, **place), secret)}"


def webhook_url_of(account: Account, service: Service) -> str | None:
    """Return the URL that a service is told once, to call it for all image tasks of an account.

    :returns: None where the service has no such webhook, or callbacks are not set up.
    :raises InvalidRequestError: the configuration cannot be used.
    """
    base_url, secret = _settings()
    if secret is None or not service.has_account_webhook:
        return None
    place = CallbackPlace(conn_id=account.conn_id, dag_id="", run_id="", task_id="", map_index=-1)
    return f"{base_url}{PATH}/{sign(place, secret)}"


def are_used_for(account: Account, service: Service) -> bool:
    """Whether image tasks of this connection call Airflow back when they are done.

    :raises InvalidRequestError: the configuration cannot be used.
    """
    return callback_secret() is not None and service.takes_callback_url and not account.callback_url


def callback_secret() -> str | None:
    """Return the secret that callbacks are signed with; None where callbacks are not set up."""
    return _settings()[1]


def sign(place: CallbackPlace, secret: str) -> str:
    """Return the token that stands for a submission; the same submission gives the same one."""
    # Airflow's logs mask what begins like this, as base64 of a JSON object does; so it is not compressed.
    # Outside of regions the token is that of earlier versions, which know none.
    told = {name: value for name, value in asdict(place).items() if name != "region" or value}
    payload = base64.urlsafe_b64encode(json.dumps(told, separators=(",", ":")).encode()).rstrip(b"=")
    return _signer(secret).sign(payload).decode()


def read_token(token: str, secret: str) -> CallbackPlace | None:
    """Return which submission a token stands for; None where it was not signed with this secret."""
    if len(token) > _LONGEST_TOKEN or not token.isascii():
        return None
    try:
        payload = _signer(secret).unsign(token)
        return CallbackPlace(**json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))))
    except (BadSignature, ValueError, TypeError):
        return None


def _signer(secret: str) -> Signer:
    return Signer(secret, salt=_SALT, sep=".", digest_method=hashlib.sha256)


def _settings() -> tuple[str | None, str | None]:
    base_url = (conf.get("imagetasks", "callback_base_url", fallback="") or "").strip().rstrip("/")
    secret = conf.get("imagetasks", "callback_secret", fallback="") or ""
    if not base_url or not secret:
        return None, None
    if not is_web_address(base_url):
        raise InvalidRequestError("[imagetasks] callback_base_url must be a URL like https://airflow.example.com")
    if len(secret) < SHORTEST_SECRET:
        raise InvalidRequestError(
            f"[imagetasks] callback_secret is shorter than {SHORTEST_SECRET} characters; anybody could guess it"
        )
    return base_url, secret
