"""Downloads pictures as the download operator does, in a process of its own, and prints the seconds it took.

Usage: python -m benchmarks.download_load URL COUNT. Each line of standard input is a folder to download into; as in a
worker, Airflow is loaded before.
"""

from __future__ import annotations

import sys
import time

from airflow_provider_imagetasks.files.object_storage import open_folder
from airflow_provider_imagetasks.files.picture_store import download_images
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState


def picture_url(url: str, number: int) -> str:
    """Return the address of a picture of the measured server."""
    return f"{url}/pictures/{number}.png"


def download(url: str, count: int, folder: str) -> float:
    """Download ``count`` pictures from the server at ``url``, and return the seconds it took.

    :raises RuntimeError: not all could be stored.
    """
    account = Account(conn_id="measured", service="local", base_url=url)
    tasks = [
        ImageTask(
            id=f"picture-{number}",
            service="local",
            state=TaskState.SUCCEEDED,
            images=(GeneratedImage(index=0, url=picture_url(url, number)),),
        )
        for number in range(count)
    ]
    began = time.perf_counter()
    files, errors = download_images(
        tasks, open_folder(folder), filename="{image_task_id}-{index}.{ext}", overwrite=False, account=account
    )
    seconds = time.perf_counter() - began
    if errors or len(files) != count:
        raise RuntimeError(f"{len(errors)} of {count} downloads failed: {errors[:1]}")
    return seconds


def main() -> None:
    """Download into each folder that standard input names."""
    for line in sys.stdin:
        print(download(sys.argv[1], int(sys.argv[2]), f"file://{line.strip()}"), flush=True)


if __name__ == "__main__":
    main()
