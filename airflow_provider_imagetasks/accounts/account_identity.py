"""Identity of an account: service, host and key, of which only a keyed hash is kept. Pure."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from airflow_provider_imagetasks.services.account import Account

_USUAL_PORTS = {"https": 443, "http": 80}


def host_of(account: Account) -> str:
    """Return the host of an account's API, with its port where that is not the usual one; or the command of its server.

    However an address is written, it is the same account.
    """
    if account.server_command is not None:
        return f"command {account.server_command.command}"[:200]
    parts = urlsplit(account.base_url)
    name, port, usual = (parts.hostname or account.base_url).lower(), parts.port, _USUAL_PORTS.get(parts.scheme)
    host = f"[{name}]" if ":" in name and parts.hostname else name.removesuffix(".")
    return (host if port in (None, usual) else f"{host}:{port}")[:200]


def key_hash(account: Account, hash_key: str) -> str:
    """Return 64 hexadecimal digits by which two connections with one key at one service are known to be one account.

    :param hash_key: the store's, so that a hash is of no use elsewhere.
    """
    return _digest(hash_key, account.service, host_of(account), account.key or "")


def place_hash(account: Account, hash_key: str) -> str:
    """Return 64 hexadecimal digits that stand for service and host, whatever the key."""
    return _digest(hash_key, account.service, host_of(account))


def submission_id(account_id: str, key: str) -> str:
    """Return 64 hexadecimal digits for the submission that goes out with a key: the same for every try of it."""
    return hashlib.sha256(f"{account_id}\0{key}".encode()).hexdigest()


def _digest(hash_key: str, *parts: str) -> str:
    return hmac.new(bytes.fromhex(hash_key), "\0".join(parts).encode(), hashlib.sha256).hexdigest()
