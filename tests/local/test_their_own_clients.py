"""fal's, Replicate's and OpenAI's own clients do with the local service what their documentation shows.

``CLIENTS`` names an environment that has them; ``make test-clients`` builds one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import queue
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.local.http_application import LocalApplication
from airflow_provider_imagetasks.local.options import ServiceOptions
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
HERE = Path(__file__).parent


def asked_by(script: str, **environment: str) -> Any:
    """Return what a script says that an interpreter with the clients runs."""
    python = Path(os.environ.get("CLIENTS", ".venv-clients")) / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is not there: make test-clients builds it")
    known = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [python, HERE / script], env={**known, **environment}, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout)


def certificate_for_this_machine(folder: Path) -> Path:
    """Write a certificate of 127.0.0.1 that signs itself, behind its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local")])
    now = datetime.now(UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
    path = folder / "local.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Host and port of a local service that is spoken to by https, as fal's client insists, and its certificate."""
    certificate = certificate_for_this_machine(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    loop, started, places = asyncio.new_event_loop(), threading.Event(), list[str]()
    stopped = asyncio.Event()

    async def serve() -> None:
        runner = LocalApplication(ServiceOptions(latency=0)).runner()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        places.append(f"127.0.0.1:{runner.addresses[0][1]}")
        started.set()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    yield places[0], certificate
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)
    loop.close()


def test_fal_client_submits_asks_fetches_cancels_and_understands_errors(over_tls: tuple[str, Path]) -> None:
    place, certificate = over_tls
    told = asked_by(
        "asked_by_fal_client.py", FAL_QUEUE_RUN_HOST=f"{place}/fal", FAL_KEY="a:key", SSL_CERT_FILE=str(certificate)
    )

    assert told["first"] in ("Queued", "InProgress")
    assert [url.startswith(f"https://{place}/files/") for url in told["images"]] == [True, True]
    assert told["cancelled"] == ["Completed", "client_cancelled"]
    assert told["subscribed"] == [1, "Completed"]
    assert told["errors"] == {
        "[fail]": [500, "runner_server_error"],
        "[refuse-late]": [422, None],
        "[no-credit]": [403, None],
        "[refuse]": [422, None],
    }


def test_replicate_creates_waits_lists_cancels_and_understands_errors() -> None:
    with LocalImageService(latency=0) as service:
        told = asked_by(
            "asked_by_replicate.py",
            REPLICATE_BASE_URL=f"{service.url}/replicate",
            REPLICATE_API_TOKEN="r8_key",
            REPLICATE_POLL_INTERVAL="0.1",
        )

    assert told["first"] == "starting"
    assert (told["made"][0], len(told["made"][1])) == ("succeeded", 2)
    assert (told["official"], told["deployed"], told["stopped"]) == ("succeeded", "deployments/me/mine", "canceled")
    assert (told["listed"], told["run"], told["secret"]) == (True, ["png"], "whsec_")
    assert told["errors"] == {
        "[fail]": ["model", "failed"],
        "[refuse-late]": ["model", "failed"],
        "[no-credit]": ["http", 402],
        "[refuse]": ["http", 422],
    }


def test_openai_asks_for_background_responses_waits_cancels_and_understands_errors() -> None:
    with LocalImageService(latency=0) as service:
        told = asked_by("asked_by_openai.py", OPENAI_BASE_URL=f"{service.url}/openai/v1", OPENAI_API_KEY="sk-key")

    assert (told["first"], told["made"]) == ("queued", ["completed", "PNG", True, True])
    assert (told["edited"], told["stopped"]) == (["completed", 1], ["cancelled", "cancelled"])
    assert told["errors"] == {
        "[fail]": ["failed", "server_error"],
        "[refuse-late]": ["failed", "image_content_policy_violation"],
        "[fail=max_output_tokens]": ["incomplete", "max_output_tokens"],
        "[no-credit]": ["RateLimitError", "insufficient_quota"],
        "[refuse]": ["BadRequestError", "moderation_blocked"],
        "[429]": ["RateLimitError", "rate_limit_exceeded"],
    }


def test_openai_uploads_files_and_has_batches_made_listed_and_cancelled() -> None:
    with LocalImageService(latency=0, batch_latency=1) as service:
        url = f"{service.url}/openai/v1"
        told = asked_by("asked_by_openai_batches.py", OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-key")

    assert told == {
        "first": "validating",
        "made": ["completed", 2, 1, {"description": "nightly catalogue"}],
        "results": ["request-0", "request-2"],
        "picture": "PNG",
        "errors": [["request-1", "moderation_blocked"]],
        "stopped": "cancelled",
        "refused": ["failed", 1, "invalid_value"],
        "uploaded": ["batch", "batch.jsonl"],
        "listed": True,
        "gone": "NotFoundError",
    }


def test_openai_believes_the_calls_of_the_webhook_and_understands_them() -> None:
    received: queue.Queue[ReceivedRequest] = queue.Queue()
    secret, tool = "whsec_YSBrZXkgb2Ygc29tZSBsZW5ndGg=", {"type": "image_generation", "size": "64x64"}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "a", "model": "m"}}

    def receive(request: ReceivedRequest) -> Reply:
        received.put(request)
        return Reply()

    with (
        ScriptedServer(otherwise=receive) as server,
        LocalImageService(latency=0, batch_latency=0, webhook_url=server.url, webhook_secret=secret) as service,
    ):
        url = f"{service.url}/openai/v1"
        asked = {"model": "m", "input": "a kite", "tools": [tool], "background": True}
        response = requests.post(f"{url}/responses", json=asked, timeout=10).json()["id"]
        uploaded = {"data": {"purpose": "batch"}, "files": {"file": ("b.jsonl", json.dumps(line))}}
        file = requests.post(f"{url}/files", timeout=10, **uploaded).json()["id"]
        order = {"input_file_id": file, "endpoint": line["url"], "completion_window": "24h"}
        batch = requests.post(f"{url}/batches", json=order, timeout=10).json()["id"]
        calls = [received.get(timeout=30) for _ in range(2)]

    told = asked_by(
        "asked_by_openai_webhooks.py",
        OPENAI_API_KEY="sk-key",
        WEBHOOK_SECRET=secret,
        CALLS=json.dumps([{"headers": dict(call.headers), "body": call.content.decode()} for call in calls]),
    )
    assert told == [["batch.completed", batch], ["response.completed", response]]
