"""Whose account it is: the address may be written in many ways, and a budget is spent once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_imagetasks.accounts.account_identity import host_of
from airflow_provider_imagetasks.accounts.store import AccountStore
from tests.accounts.store_users import account


@pytest.mark.parametrize(
    ("written", "also"),
    [
        ("https://api.example/v1", "https://API.example:443"),
        ("http://api.example", "http://api.example:80/v1"),
        ("https://api.example", "https://api.example./v1"),
    ],
)
def test_an_address_that_is_written_in_another_way_is_no_other_account(tmp_path: Path, written: str, also: str) -> None:
    store, one = AccountStore(f"sqlite:///{tmp_path}/accounts.sqlite"), account("a", "one-key-of-the-shop")
    first, second, elsewhere = (
        store.account_id(replace(one, conn_id=conn_id, base_url=base_url), {})
        for conn_id, base_url in (("a", written), ("b", also), ("c", "https://api.example:8443"))
    )
    store.close()

    assert first == second
    assert elsewhere != first


@pytest.mark.parametrize(
    ("base_url", "host"),
    [("http://[::1]:8750/x", "[::1]:8750"), ("http://127.0.0.1:8750/fal", "127.0.0.1:8750"), ("https://a.b", "a.b")],
)
def test_a_port_of_its_own_belongs_to_a_host(base_url: str, host: str) -> None:
    assert host_of(replace(account(), base_url=base_url)) == host
