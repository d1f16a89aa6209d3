from __future__ import annotations

import pytest
import requests

from tests.local.clients import picture_at

ROUTES = ("models/owner/name", "deployments/owner/name")


def asked(service, method, path, **options):
    return requests.request(method, f"{service.url}/replicate/v1/{path}", timeout=10, **options)


def submitted(service, prompt="a red kite", path="models/owner/name/predictions", **order):
    answer = asked(service, "POST", path, json={"input": {"prompt": prompt, **order}})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("route", ROUTES)
def test_a_prediction_of_a_model_or_a_deployment(service, route):
    told = submitted(service, path=f"{route}/predictions", num_outputs=2, width=64, height=32)
    record = requests.get(told["urls"]["get"], timeout=10).json()

    assert (told["status"], record["status"]) == ("starting", "succeeded")
    assert [picture_at(url).size for url in record["output"]] == [(64, 32)] * 2


def test_a_version_is_named_in_the_body(service):
    body = {"input": {"prompt": "a kite"}, "version": "owner/name-pro:abc"}
    told = asked(service, "POST", "predictions", json=body).json()
    record = requests.get(told["urls"]["get"], timeout=10).json()

    assert (record["model"], record["version"]) == ("owner/name-pro", "abc")
    assert record["output"].startswith("http")
    assert asked(service, "POST", "predictions", json={"input": {"prompt": "a kite"}}).status_code == 422


def test_a_hundred_predictions_are_a_page_the_newest_first(service):
    ids = [submitted(service, f"kite {number}")["id"] for number in range(101)]
    first = asked(service, "GET", "predictions").json()
    second = requests.get(first["next"], timeout=10).json()

    assert [each["id"] for each in first["results"] + second["results"]] == ids[::-1]
    assert (len(first["results"]), second["next"]) == (100, None)


def test_a_prediction_can_be_cancelled_until_it_is_over(start):
    service = start(latency=60)
    told = submitted(service)

    assert requests.post(told["urls"]["cancel"], timeout=10).json()["status"] == "canceled"
    assert requests.get(told["urls"]["get"], timeout=10).json()["status"] == "canceled"
    assert service.stats()["dialects"]["replicate"]["cancelled"] == 1


def test_what_failed_says_why(service):
    told = [submitted(service, f"a kite {directive}") for directive in ("[fail]", "[refuse-late]", "[fail=E6716]")]
    records = [requests.get(each["urls"]["get"], timeout=10).json() for each in told]

    assert [record["status"] for record in records] == ["failed"] * 3
    assert [record["error"].rpartition(" ")[2] for record in records] == ["fail", "(E005)", "(E6716)"]
    assert asked(service, "GET", "predictions/nobody").status_code == 404


def test_the_account_and_the_key_of_callbacks_are_told_to_whoever_has_the_key(start):
    service = start(api_keys=["right"], webhook_secret="whsec_YSBrZXk=")
    let_in = {"headers": {"Authorization": "Bearer right"}}

    assert asked(service, "GET", "account", **let_in).json()["username"] == "local"
    assert asked(service, "GET", "webhooks/default/secret", **let_in).json() == {"key": "whsec_YSBrZXk="}
    assert asked(service, "GET", "account").status_code == 401
