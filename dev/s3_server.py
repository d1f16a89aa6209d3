"""An S3 server on loopback: moto's, which keeps its objects in memory."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from dev.airflow_settings import inherited_environment
from dev.child_process import ChildProcess
from dev.ports import choose_port
from dev.rest_api import wait_until

REGION = "us-east-1"


class S3StartError(Exception):
    """The S3 server ended at its start; the message holds its output."""


class S3Server:
    """``moto_server`` with one bucket; needs boto3."""

    def __init__(self, bucket: str, *, python: str = sys.executable) -> None:
        self.bucket = bucket
        self.port = choose_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="s3-")).resolve()
        self.process = ChildProcess(
            "s3",
            [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            environment=inherited_environment(),
            log_path=self._folder / "output.log",
            folder=self._folder,
        )

    def start(self, *, timeout: float = 60) -> None:
        """Start it, wait until it answers, and make the bucket."""
        self.process.start()
        wait_until(self._answers, timeout=timeout, what="the S3 server answers", interval=0.2)
        self._client().create_bucket(Bucket=self.bucket)

    def remove(self) -> None:
        """Stop it; its objects are gone with it."""
        self.process.stop(grace=3)
        shutil.rmtree(self._folder, ignore_errors=True)

    def connection(self) -> str:
        """Return an Airflow connection to it, as the value of an ``AIRFLOW_CONN_`` variable."""
        extra = {"endpoint_url": self.url, "region_name": REGION}
        return json.dumps({"conn_type": "aws", "login": "an-id", "password": "a-secret", "extra": extra})

    def objects(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Yield the key and the content of each object."""
        client = self._client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                content = client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
                yield entry["Key"], content

    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="an-id",
            aws_secret_access_key="a-secret",
        )

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise S3StartError(f"the S3 server ended:\n{self.process.log_tail()}")
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{self.url}/moto-api/", timeout=5).ok
        except requests.RequestException:
            return False
