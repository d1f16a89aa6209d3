from __future__ import annotations

import requests

from tests.local.clients import picture_at

MODEL = "fal-ai/flux/dev"


def submitted(service, prompt="a red kite", **order):
    answer = requests.post(f"{service.url}/fal/{MODEL}", json={"prompt": prompt, **order}, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_request_is_asked_for_by_owner_and_app(service):
    told = submitted(service, num_images=2, image_size={"width": 64, "height": 32}, output_format="jpeg")

    assert told["status_url"] == f"{service.url}/fal/fal-ai/flux/requests/{told['request_id']}/status"
    status = requests.get(told["status_url"], timeout=10)
    assert (status.status_code, status.json()["status"]) == (200, "COMPLETED")
    images = requests.get(told["response_url"], timeout=10).json()["images"]
    assert [picture_at(image["url"]).size for image in images] == [(64, 32)] * 2
    assert requests.get(told["status_url"].replace("/flux/", "/other/"), timeout=10).status_code == 404


def test_a_request_that_waits_is_202_and_can_be_cancelled_once(start):
    service = start(latency=60)
    told = submitted(service)
    words = [requests.get(told["status_url"], timeout=10) for _ in range(2)]

    assert [(one.status_code, one.json()["status"]) for one in words] == [(202, "IN_QUEUE"), (202, "IN_PROGRESS")]
    assert requests.get(told["response_url"], timeout=10).status_code == 400
    cancelled, again = (requests.put(told["cancel_url"], timeout=10) for _ in range(2))
    assert (cancelled.status_code, cancelled.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (again.status_code, again.json()) == (400, {"status": "ALREADY_COMPLETED"})
    status = requests.get(told["status_url"], timeout=10).json()
    assert (status["status"], status["error_type"]) == ("COMPLETED", "client_cancelled")
    assert requests.get(told["response_url"], timeout=10).status_code == 499
    assert service.stats()["dialects"]["fal"]["cancelled"] == 1
    assert service.stats()["cancelled"] == [told["request_id"]]


def test_errors_come_in_both_forms(service):
    told = submitted(service, "a kite [fail]"), submitted(service, "a kite [refuse-late]")
    flat, listed = (requests.get(each["response_url"], timeout=10) for each in told)

    assert (flat.status_code, flat.headers["X-Fal-Error-Type"]) == (500, "runner_server_error")
    assert (listed.status_code, listed.json()["detail"][0]["type"]) == (422, "content_policy_violation")
    locked = requests.post(f"{service.url}/fal/{MODEL}", json={"prompt": "a kite [no-credit]"}, timeout=10)
    assert locked.status_code == 403
    assert "Exhausted balance" in locked.json()["detail"]


def test_the_key_stands_behind_its_own_word(start):
    service = start(api_keys=["right"])

    def status(said):
        headers = {"Authorization": said}
        return requests.post(
            f"{service.url}/fal/{MODEL}", json={"prompt": "a"}, headers=headers, timeout=10
        ).status_code

    assert [status(said) for said in ("Key right", "Bearer right", "Key wrong", "right")] == [200, 200, 401, 401]
