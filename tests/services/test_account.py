from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError
from airflow_provider_imagetasks.services import get_service, tiers_for
from airflow_provider_imagetasks.services.account import Account, ServerCommand, is_loopback, read_account, service_name
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.rates import Rate, Window

KEY = "sk-nobody-may-see-this"
DEFAULT_URL = "https://api.acedata.cloud"


def read(*, host: str | None = None, key: str | None = KEY, requires_key: bool = True, **extra: Any) -> Account:
    return read_account(
        conn_id="mine",
        service="acedatacloud",
        default_base_url=DEFAULT_URL,
        requires_key=requires_key,
        host=host,
        key=key,
        extra=extra,
        tiers=tiers_for(get_service("acedatacloud"), extra.get("submit_rate"), extra.get("query_rate")),
    )


def test_a_connection_with_a_key_alone_is_enough_and_never_shows_it() -> None:
    account = read()

    assert account == Account(conn_id="mine", service="acedatacloud", base_url=DEFAULT_URL, key=KEY)
    assert (account.request_timeout, account.poll_interval, account.verify, account.trust_env) == (60, None, True, True)
    assert KEY not in repr(account) + str(account)


MEANINGS: list[tuple[str, list[Any], Any]] = [
    ("poll_interval", ["15", 15], 15.0),
    ("request_timeout", ["2.5"], 2.5),
    ("max_active_tasks", ["3", 3.0], 3),
    ("submit_rate", ["20/10s"], Rate((Window(20, 10),))),
    ("query_rate", ["aigptimage:free"], Rate((Window(2, 1), Window(60, 60)))),
    ("allow_private_hosts", ["True"], True),
    ("trust_env", ["false"], False),
    ("trust_env", [True], True),
    ("verify", ["false"], False),
    ("verify", ["/etc/ssl/own.pem"], "/etc/ssl/own.pem"),
    ("download_hosts", ["CDN.example, pictures.example"], ("cdn.example", "pictures.example")),
    ("download_hosts", [["Cdn.example"], '["cdn.example"]', "cdn.example."], ("cdn.example",)),
    ("download_hosts", ["[::1], 10.0.0.5", ["0:0::1", "10.0.0.5"]], ("::1", "10.0.0.5")),
    (
        "download_hosts",
        ["bücher.example, my_cdn.example, localhost"],
        ("bücher.example", "my_cdn.example", "localhost"),
    ),
    ("default_model", [" gpt-image-2 "], "gpt-image-2"),
    ("callback_url", ["https://me.example/done"], "https://me.example/done"),
]


@pytest.mark.parametrize(("field", "values", "meaning"), MEANINGS)
def test_a_field_may_come_as_text_from_the_form_or_as_json_from_a_file(field, values, meaning) -> None:
    assert [getattr(read(**{field: value}), field) for value in values] == [meaning] * len(values)


def test_a_tier_brings_its_number_of_active_image_tasks() -> None:
    for own, expected in (({}, 1), ({"max_active_tasks": 4}, 4)):
        account = read(submit_rate="aigptimage:free", **own)
        assert (account.submit_rate, account.max_active_tasks) == (
            get_service("aigptimage").tiers["free"].submit,
            expected,
        )


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_an_empty_field_is_as_good_as_none(nothing: Any) -> None:
    names = ("callback_url", "default_model", "poll_interval", "request_timeout", "submit_rate", "query_rate")
    more = ("max_active_tasks", "download_hosts", "allow_private_hosts", "verify", "trust_env")

    assert read(host=nothing, **dict.fromkeys((*names, *more), nothing)) == read()


NUMBER = "a number of at least 1"
WRONG_FIELDS: dict[tuple[str, str], list[Any]] = {
    ("callback_url", "https://"): ["me.example", "https://", "https://a b/", "https://x.example:99999/"],
    ("callback_url", "text"): [5],
    ("default_model", "text"): [["gpt-image-2"]],
    ("poll_interval", NUMBER): ["soon", 0.5, True, "nan", {}, 86_401],
    ("request_timeout", NUMBER): ["inf", -1, 10**400, 1e300, "86401"],
    ("max_active_tasks", NUMBER): [0],
    ("max_active_tasks", "a whole number"): ["2.5"],
    ("submit_rate", "20/10s"): ["fast"],
    ("submit_rate", "text"): [5],
    ("query_rate", "aigptimage:free"): ["aigptimage:gold"],
    ("download_hosts", "a list of host names"): [5, ["cdn.example", None]],
    ("download_hosts", "that no host can match"): [
        *("https://cdn.example", "cdn.example:443", "cdn.example/pictures", "*.cdn.example", ".cdn.example", "*"),
        *("cdn..example", "a cdn.example", "me@cdn.example", "[::1]:443", "10.0.0.0/8", f"{'a' * 64}.example"),
        *(["good.example", "*.cdn.example"], '["https://cdn.example"]', "cdn.example;other.example", "cdn.example?x"),
    ],
    ("allow_private_hosts", "true or false"): ["yes"],
    ("trust_env", "true or false"): [1],
    ("verify", "true, false or the path"): [1],
}


@pytest.mark.parametrize(("field", "fix"), WRONG_FIELDS)
def test_a_wrong_field_is_named_with_its_fix(field: str, fix: str) -> None:
    for value in WRONG_FIELDS[field, fix]:
        with pytest.raises(InvalidRequestError) as caught:
            read(**{field: value})
        message = str(caught.value)
        assert f"Extra field '{field}' of connection 'mine'" in message
        assert fix in message
        assert caught.value.billed == "no"
        assert KEY not in message


THEIRS = {
    "region": ConnectionField(label="Region", description="where it draws."),
    "seats": ConnectionField(label="Seats", description="how many.", kind="integer"),
    "share": ConnectionField(label="Share", description="of the price.", kind="number"),
    "draft": ConnectionField(label="Draft", description="whether.", kind="boolean"),
    "default_model": ConnectionField(label="Mine", description="which is everybody's."),
}


def read_theirs(**extra: Any) -> Account:
    about = {"conn_id": "mine", "service": "theirs", "default_base_url": DEFAULT_URL, "requires_key": True}
    return read_account(**about, host=None, key=KEY, extra=extra, further_fields=THEIRS)  # type: ignore[arg-type]


def test_the_fields_that_a_service_adds_are_read_by_their_kind() -> None:
    account = read_theirs(region=" eu ", seats="3", share="-0.5", draft="true", default_model="m", unknown="x")

    given = [account.further_field(name) for name in (*THEIRS, "unknown")]
    assert given == ["eu", 3, -0.5, True, None, None]
    assert account.default_model == "m"
    assert read_theirs(region="", seats=None, draft=" ").further == ()
    assert {account: 1}[read_theirs(region="eu", seats=3, share=-0.5, draft=True, default_model="m")] == 1


@pytest.mark.parametrize(("field", "value"), [("region", 5), ("seats", "2.5"), ("share", "nan"), ("draft", "perhaps")])
def test_a_wrong_field_that_a_service_adds_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"Extra field '{field}' of connection 'mine'"):
        read_theirs(**{field: value})


SECRET = "t0ken-that-lets-somebody-in"
WRONG_SECRETS: dict[str, list[Any]] = {
    "webhook_secret": [{"key": SECRET}, [SECRET], f"{SECRET}\0"],
    "callback_url": [[f"https://me.example/{SECRET}"], f"me.example/{SECRET}", f"https://me.example/{SECRET}\ud800"],
    "args": [{"--key": SECRET}, [SECRET, None], f"--key {SECRET}"],
    "env": [[SECRET], {"KEY": [SECRET]}],
    "download_hosts": [{"hosts": SECRET}],
    "default_model": [{"model": SECRET}],
    "output_dir": [[SECRET]],
}


@pytest.mark.parametrize("field", WRONG_SECRETS)
def test_a_field_that_may_hold_a_secret_is_named_and_not_shown(field: str) -> None:
    for value in WRONG_SECRETS[field]:
        with pytest.raises(InvalidRequestError, match=field) as caught:
            read_account(
                conn_id="mine",
                service="gpt_image_mcp",
                default_base_url=DEFAULT_URL,
                requires_key=False,
                host=None,
                key=None,
                extra={"command": "node", field: value},
                is_tool_server=True,
                allow_commands=True,
            )
        assert SECRET not in str(caught.value)


def test_an_account_in_a_log_shows_no_secret() -> None:
    url = f"https://me.example/{SECRET}"

    assert SECRET not in repr(read(webhook_secret=SECRET, callback_url=url))


def test_a_missing_key_is_named_with_its_place_unless_none_is_needed_and_blanks_around_one_do_not_count() -> None:
    for missing in (None, "", "   ", "\n"):
        with pytest.raises(AuthenticationError, match=r"'mine' has no API key.*Password"):
            read(key=missing)
    assert read(key=None, requires_key=False).key is None
    assert read(key=f" {KEY}\n").key == KEY


@pytest.mark.parametrize("key", [f"{KEY}\r\nX-Evil: 1", f"Bearer {KEY}", f"{KEY}é", f"{KEY}\u200b", f"{KEY}\0"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(AuthenticationError, match="Password") as caught:
        read(key=key)

    assert KEY not in str(caught.value)


BASE_URLS = {
    "api.example": "https://api.example",
    "https://api.example/": "https://api.example",
    "https://api.example/v1/": "https://api.example/v1",
    "  https://api.example:8443  ": "https://api.example:8443",
    "HTTPS://api.example": "https://api.example",
    "http://127.0.0.1:8750/acedatacloud": "http://127.0.0.1:8750/acedatacloud",
    "http://localhost:8750": "http://localhost:8750",
    "http://[::1]:8750": "http://[::1]:8750",
    "https://bücher.example": "https://bücher.example",
}


def test_host_is_a_base_url_and_plain_http_possible_inside_one_s_own_network() -> None:
    assert {host: read(host=host).base_url for host in BASE_URLS} == BASE_URLS
    assert read(host="http://10.0.0.5", allow_private_hosts=True).base_url == "http://10.0.0.5"


MALFORMED_HOSTS = {
    "https://": ["ftp://api.example", "file:///etc/passwd"],
    "allow_private_hosts": ["http://api.example", "http://10.0.0.5"],
    "no host name": ["https://", "https:///v1"],
    "host name": [
        "https://my host",
        "https://my$host.example",
        "https://a%20b.example",
        "https://a..example",
        f"https://{'a' * 70}.example",
    ],
    "base URL": ["https://api.example:99999", "https://api.example:eighty", "https://[::1"],
    "Password": [f"https://me:{KEY}@api.example", f"https://{KEY}@api.example"],
    "query": [f"https://api.example/?key={KEY}"],
    "fragment": [f"https://api.example/#{KEY}"],
}


@pytest.mark.parametrize("problem", MALFORMED_HOSTS)
def test_a_malformed_host_is_refused_with_an_example(problem: str) -> None:
    for host in MALFORMED_HOSTS[problem]:
        with pytest.raises(InvalidRequestError) as caught:
            read(host=host)
        message = str(caught.value)
        assert message.startswith("Host ")
        assert all(words in message for words in ("connection 'mine'", problem, DEFAULT_URL))
        assert KEY not in message


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "api.localhost", "127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(is_loopback, ("localhost.example", "10.0.0.5", "0.0.0.0", "notlocalhost", "fe80::1", "")))


@pytest.mark.parametrize("fields", [{}, *({"service": service} for service in (None, "", 5, ["local"], "dall-e"))])
def test_a_missing_or_unknown_service_is_named_with_the_choices(fields: dict[str, Any]) -> None:
    said = (
        "'service' that is not known here.*; choose"
        if "dall-e" in fields.values()
        else "'mine' has no service.*'service' to"
    )

    with pytest.raises(InvalidRequestError, match=rf"{said} one of acedatacloud, local"):
        service_name("mine", fields, ("acedatacloud", "local"))
    with pytest.raises(InvalidRequestError, match=r"\(is acedatacloud meant\?\)"):
        service_name("mine", {"service": "AceData-Cloud"}, ("acedatacloud", "local"))
    assert service_name("mine", {"service": " local "}, ("acedatacloud", "local")) == "local"


@given(
    host=st.none() | st.text(max_size=20) | st.text(max_size=20).map(lambda text: f"https://{text}"),
    field=st.sampled_from(("poll_interval", "max_active_tasks", "query_rate", "verify", "download_hosts", "trust_env")),
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=3,
    ),
)
@settings(max_examples=300, deadline=None, database=None)
def test_whatever_a_connection_holds_it_is_read_or_refused(host: str | None, field: str, value: Any) -> None:
    with suppress(InvalidRequestError):
        account = read(host=host, **{field: value})
        assert account.base_url.startswith(("https://", "http://"))


def read_tool_server(**fields: Any) -> Account:
    usual = {"conn_id": "mine", "service": "gpt_image_mcp", "default_base_url": "http://127.0.0.1:8096/mcp"}
    no_key = {"requires_key": False, "host": None, "key": None, "is_tool_server": True, "extra": {}}
    return read_account(**{**usual, **no_key, **fields})


def test_the_address_of_an_mcp_server_is_taken_as_it_is() -> None:
    for host in ("https://mcp.example/mcp", "https://mcp.example/mcp/", "https://mcp.example/a/b/"):
        assert read_tool_server(host=host).base_url == host
        assert read(host=host).base_url == host.rstrip("/")


@pytest.mark.parametrize("as_form", [False, True], ids=["JSON", "text from the form"])
def test_an_mcp_server_may_be_started_where_that_is_allowed(as_form: bool) -> None:
    fields: dict[str, Any] = {
        "args": ["a.js", "--b"],
        "env": {"TOKEN": KEY},
        "path_map": {"/srv/images": "/mnt/images/"},
    }
    extra = {name: json.dumps(value) if as_form else value for name, value in fields.items()}
    extra |= {"command": "node", "output_dir": "/srv/images/"}

    account = read_tool_server(extra=extra, allow_commands=True)

    assert account.server_command == ServerCommand(command="node", args=("a.js", "--b"), env=(("TOKEN", KEY),))
    assert (account.output_dir, account.path_map) == ("/srv/images", (("/srv/images", "/mnt/images"),))
    assert KEY not in repr(account)
    assert isinstance(hash(account), int)
    with pytest.raises(InvalidRequestError, match="allow_stdio_commands"):
        read_tool_server(extra=extra)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("args", value) for value in ("a.js", [1], {"a": "b"})),
        *(("env", value) for value in (["A=b"], {"A": 1}, {"TOKEN": [KEY]})),
        *(("output_dir", value) for value in ("images", ["/images"])),
        *(("path_map", value) for value in ({"/srv": "mnt"}, "/srv:/mnt")),
    ],
)
def test_a_field_of_an_mcp_server_that_is_wrong_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"'{name}'") as raised:
        read_tool_server(extra={"command": "node", name: value}, allow_commands=True)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "pasted",
    [
        *("sk-abcdefghijkl", "SK_live_123456789", "r8_abc123", "Bearer abc", "eyJhbGciOiJIUzI1NiJ9.e30.x"),
        *("0123456789abcdef0123456789abcdef", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6:0f3c9a", "the-key", "the secret"),
    ],
)
def test_a_default_model_that_may_be_a_key_is_refused_and_not_shown(pasted: str) -> None:
    with pytest.raises(InvalidRequestError, match="default_model") as raised:
        read(default_model=pasted, webhook_secret="the secret", key="the-key")
    assert pasted not in str(raised.value)


@pytest.mark.parametrize(
    "model",
    [
        *(
            "gpt-image-2",
            "flux/flux-2-pro",
            "fal-ai/bytedance/seedream/v4/text-to-image",
            "skylight-1",
            "ep-20250101-abcde",
        ),
        *("5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa", "black-forest-labs/flux-kontext-pro"),
        *("doubao-seedream-5-0-260128", "b24e16ff-06e3-43eb-8d33-4416c2d75876", "gptimage2texttoimage"),
    ],
)
def test_names_of_models_are_none(model: str) -> None:
    assert read(default_model=model).default_model == model
