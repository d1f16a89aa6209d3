"""The demo: a real Airflow makes pictures with the local image service, from one command."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests

from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_PATHS
from dev.airflow_deployment import AirflowDeployment, AirflowStartError, DagImportError
from dev.contact_sheet import contact_sheet, in_a_terminal, shows_colours
from dev.demo_progress import ProgressLine, progress_text
from dev.interruption import Interrupted, raise_on_interruption
from dev.local_image_service import LocalImageServiceProcess, LocalServiceStartError
from dev.ports import choose_port
from dev.rest_api import FINISHED_RUN_STATES, AirflowRestApi, DeadlineExceededError, RestApiError

CHECKOUT = Path(__file__).resolve().parent.parent
DAG_ID = "example_image_task_mapped"
USUAL_SERVICE_PORT = 8750
# Pictures come at different times, as they do from a real service.
LATENCY = "3-12"
RUN_TIMEOUT = 240
PROGRESS_INTERVAL = 2

EXPECTED_ERRORS = (
    AirflowStartError,
    DagImportError,
    LocalServiceStartError,
    DeadlineExceededError,
    RestApiError,
    requests.RequestException,
)


class DemoFailedError(Exception):
    """The demo did not end as it should; the message is for the person who ran it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=sorted(DIALECT_PATHS), default="local", help="whose dialect to speak")
    parser.add_argument("--model", help="the model of all pictures; without it the service's own")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "demo-output", help="folder for the pictures")
    options = parser.parse_args(arguments)
    # A pipe shows the lines as they come, too.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    raise_on_interruption()
    try:
        return run_demo(options.service, options.model, options.output.resolve(), keep=options.keep)
    except Interrupted as interruption:
        print("\nEverything that was started is stopped.")
        # Whoever pressed Ctrl-C wanted it to end: make would call that an error.
        return 0 if interruption.exit_code == 128 + signal.SIGINT else interruption.exit_code


def run_demo(service: str, model: str | None, output: Path, *, keep: bool) -> int:
    """Start everything, make the pictures, show them, stop everything; return the exit code."""
    started_at = time.monotonic()
    with contextlib.ExitStack() as running:
        try:
            image_service = running.enter_context(local_image_service())
            airflow = running.enter_context(airflow_deployment(image_service, service, model, output))
            print(f"Airflow is ready after {time.monotonic() - started_at:.0f} s.")
            if keep:
                # The pictures can be watched as they come.
                print_addresses(airflow, image_service)
        except EXPECTED_ERRORS as error:
            print(f"\nThe demo could not start.\n{error}")
            return 1
        exit_code = 0
        try:
            make_pictures(airflow, output)
            print(f"\nDone in {time.monotonic() - started_at:.0f} s.")
        except (DemoFailedError, *EXPECTED_ERRORS) as error:
            print(f"\nThe demo failed after {time.monotonic() - started_at:.0f} s.\n{error}")
            exit_code = 1
        if keep:
            print("\nStill running, until Ctrl-C:")
            print_addresses(airflow, image_service)
            signal.pause()
    return exit_code


def print_addresses(airflow: AirflowDeployment, image_service: LocalImageServiceProcess) -> None:
    """Print where everything is to be seen, and how to get in."""
    print(f"  login          user {airflow.login.user}, password {airflow.login.password}")
    print(f"  the pictures   {airflow.url}/plugin/image-tasks")
    print(f"  Airflow        {airflow.url}")
    print(f"  image service  {image_service.url}")


def local_image_service() -> LocalImageServiceProcess:
    """Return the local image service, on its usual port when that is free."""
    port = choose_port(USUAL_SERVICE_PORT)
    print(f"Starting the local image service on port {port}")
    return LocalImageServiceProcess(latency=LATENCY, port=port)


def airflow_deployment(
    image_service: LocalImageServiceProcess, service: str, model: str | None, output: Path
) -> AirflowDeployment:
    """Return an Airflow that has the example Dags and a connection to the local image service."""
    default_model = {"default_model": model} if model else {}
    airflow = AirflowDeployment(
        dag_folders={"examples": CHECKOUT / "example_dags"},
        environment={
            "AIRFLOW_CONN_IMAGETASKS_DEFAULT": image_service.connection(service, **default_model),
            "IMAGETASKS_EXAMPLE_OUTPUT": f"file://{output}",
            "AIRFLOW__IMAGETASKS__GALLERY_ROOTS": f"file://{output}",
        },
        prefer_usual_port=True,
    )
    version = importlib.metadata.version("apache-airflow")
    print(f"Starting Airflow {version} on port {urlsplit(airflow.url).port}")
    return airflow


def make_pictures(airflow: AirflowDeployment, output: Path) -> None:
    """Run the mapped example with its progress on the terminal, show its pictures, and print where they are.

    :param output: folder for one image of all of them.
    """
    airflow.wait_for_dag(DAG_ID)
    api = airflow.api
    run_id = api.trigger_dag(DAG_ID)
    print(f"Running {DAG_ID}: {api.run_url(DAG_ID, run_id)}")
    if watch_run(api, run_id) != "success":
        raise DemoFailedError(api.failure_report(DAG_ID, run_id))
    pictures = stored_pictures(api, run_id)
    print(f"\n{len(pictures)} pictures:")
    for path, prompt in pictures:
        print(f"  {path}  {prompt}")
    sheet = contact_sheet([path for path, _ in pictures])
    sheet_path = output / "contact-sheet.png"
    sheet.save(sheet_path)
    if shows_colours(sys.stdout):
        print(f"\n{in_a_terminal(sheet)}")
    print(f"\nAll of them at a glance: {sheet_path}")
    print(f"The run in the Airflow UI: {api.run_url(DAG_ID, run_id)}")


def stored_pictures(api: AirflowRestApi, run_id: str) -> list[tuple[Path, str]]:
    """Return the files that a run stored, each with its prompt."""
    task_ids = {task.short_id: task.task_id for task in api.task_instances(DAG_ID, run_id)}
    submitted = api.xcoms(DAG_ID, run_id, task_ids["submit"], key="image_task")
    prompts = {image_task["id"]: image_task["prompt"] for image_task in submitted}
    pictures = [
        (Path(urlsplit(file["uri"]).path), prompts[file["image_task_id"]])
        for saved in api.xcoms(DAG_ID, run_id, task_ids["save"])
        for file in saved["files"]
    ]
    missing = [path for path, _ in pictures if not path.is_file()]
    if missing or not pictures:
        raise DemoFailedError(f"the run succeeded, and yet these are not there: {missing or 'any pictures'}")
    return pictures


def watch_run(api: AirflowRestApi, run_id: str) -> str:
    """Show the progress of a run until its end and return how it ended."""
    progress = ProgressLine()
    deadline = time.monotonic() + RUN_TIMEOUT
    try:
        while True:
            state = api.run_state(DAG_ID, run_id)
            progress.show(progress_text(api.task_instances(DAG_ID, run_id)))
            if state in FINISHED_RUN_STATES:
                return state
            if time.monotonic() > deadline:
                raise DemoFailedError(f"not finished within {RUN_TIMEOUT} s\n{api.failure_report(DAG_ID, run_id)}")
            time.sleep(PROGRESS_INTERVAL)
    finally:
        progress.end()


if __name__ == "__main__":
    sys.exit(main())
