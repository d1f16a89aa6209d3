"""What may happen to a submission, and the Dags in which it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.system.deployments import QUEUE_SERVICES, RESPONSE_SERVICES, REST_SERVICES, TOOL_SERVICES

SERVICES = (*REST_SERVICES, *QUEUE_SERVICES, *RESPONSE_SERVICES, *TOOL_SERVICES)
HASTY = "_hasty"
"""What the ids of connections end in that wait two seconds for an answer."""


@dataclass(frozen=True)
class Event:
    """Something that happens to a submission or to the wait for it.

    :param name: its task id.
    :param title: its row in the documentation.
    :param directives: what the prompt asks of the local service.
    :param killed: the point at which the task process kills itself, or freezes.
    :param held: whether it stops there until the test has changed the Dag.
    :param clears: how often the task is cleared although it has ended well; the sensor's, where one ``waits``.
    :param connection: what the id of its connection ends in.
    :param retries: of the task.
    :param waits: whether a deferred sensor follows, and is what it happens to.
    :param ended_early: whether a person marks it failed while its answer is awaited.
    :param way: how it is cleared, see ``money_clears``; by the API where nothing is said.
    :param keeps_copy: whether it has a ``ledger_path`` beside Airflow's own store.
    """

    name: str
    title: str
    directives: str = ""
    killed: str | None = None
    held: bool = False
    clears: int = 0
    connection: str = ""
    retries: int = 2
    waits: bool = False
    ended_early: bool = False
    way: str = ""
    keeps_copy: bool = False


KILLED_AND_CUT = (
    Event("killed_before_the_post", "worker killed before the request left", killed="before the POST"),
    Event(
        "killed_after_acceptance",
        "worker killed after the service accepted, before it answered",
        directives="[hang-after=1]",
        killed="after acceptance",
    ),
    Event(
        "killed_before_the_record",
        "worker killed after the answer, before anything was written down",
        killed="before the record",
    ),
    Event("killed_before_xcom", "worker killed after the id was written down, before XCom", killed="before XCom"),
    Event("killed_after_xcom", "worker killed after XCom, before the task had ended", killed="after XCom"),
    Event("cut", "connection cut after the service accepted", directives="[cut-after=1]"),
    Event("no_answer", "an answer that never comes", directives="[hang-after=1]", connection=HASTY),
    Event("error_500", "HTTP 500 after the service accepted", directives="[500-after=1]"),
    Event("rate_limited", "HTTP 429 three times", directives="[429=3]"),
    Event("finished", "nothing; Clear of the finished task", clears=1),
)
INTERRUPTED = (
    Event(
        "marked_failed",
        "marked failed while the answer is awaited; Clear, Clear again",
        directives="[hang-after=1]",
        ended_early=True,
        clears=2,
    ),
    Event("cleared_while_running", "Clear while the answer is awaited", directives="[hang-after=1]"),
)
REFUSED = Event("refused", "refused after a Clear; then Clear with another prompt", clears=2)
"""The first try is accepted, the second refused, and the third asks for something else."""
UNSTORABLE = Event(
    "unstorable", "a prompt with U+0000, then with half of a surrogate pair, which PostgreSQL refuses; Clear, Clear"
)
FROZEN = Event(
    "frozen",
    "worker frozen before the request leaves, until the next try has ended; then thawed",
    killed="frozen before the POST",
)
CHANGED = (
    Event(
        "retries_lowered",
        "worker killed before XCom, then `retries` lowered in the Dag",
        killed="before XCom",
        held=True,
        retries=3,
    ),
    Event(
        "prompt_changed",
        "worker killed before XCom, then the prompt changed in the Dag",
        killed="before XCom",
        held=True,
    ),
)
WAITS = (
    Event("killed_on_resume", "worker of the sensor killed when it resumes", directives="[latency=150]", waits=True),
    Event(
        "wait_marked_failed",
        "sensor marked failed while deferred; Clear, Clear again",
        directives="[latency=120]",
        waits=True,
        clears=2,
    ),
    Event(
        "triggerer_frozen", "one of two triggerers frozen for 40 s in the wait", directives="[latency=120]", waits=True
    ),
    Event("triggerer_killed", "triggerer killed and started again in the wait", directives="[latency=180]", waits=True),
)
WATCHED = (
    Event(
        "status_broken",
        "status route answers a proxy's 404 page until the sensor has failed; then Clear of the sensor",
        directives="[latency=5] [poll-html=12,status=404]",
        waits=True,
    ),
    Event(
        "odd_texts",
        "the service says U+0000 and half of a surrogate pair, which PostgreSQL refuses",
        directives="[odd-texts]",
        waits=True,
    ),
)
NEVER_SEEN = {
    ("gpt_image_mcp", "rate_limited"): "the server itself asks OpenAI again",
    ("gpt_image_mcp", "refused"): "the server refuses only once the job runs",
    **{
        (
            service,
            "wait_marked_failed",
        ): "[cancelled](money.md#stopping-what-was-submitted), where Airflow tells the triggerer"
        for service in (*QUEUE_SERVICES, *RESPONSE_SERVICES)
    },
}
"""What cannot happen between us and a service, or happens elsewhere, by service and event, and why."""
SUBMISSIONS = (*KILLED_AND_CUT, REFUSED, UNSTORABLE, *INTERRUPTED)
EVENTS = (*SUBMISSIONS, FROZEN, *CHANGED, *WAITS, *WATCHED)

_DAG = """
import os
from datetime import timedelta

{configuration}

from airflow.sdk import DAG
from killing import KilledSensor, KilledSubmitOperator

with DAG({dag_id!r}, schedule=None, default_args={{"retry_delay": timedelta(seconds=1)}}):
    for submission in {submissions!r}:
        waits, killed_sensor = submission.pop("waits"), submission.pop("killed_sensor")
        submit = KilledSubmitOperator(marks={marks!r}, **submission)
        if waits:
            KilledSensor(
                task_id=f"{{submit.task_id}}_wait",
                image_task_id=submit.output,
                conn_id=submit.conn_id,
                deferrable=True,
                poll_interval=10,
                priority_weight=10,
                retries=2,
                killed=killed_sensor,
                marks={marks!r},
            )
"""


def prompt_of(dag_id: str, event: Event) -> str:
    """Return a prompt of its own for each submission, by which it is counted."""
    return f"{dag_id} {event.name} {event.directives}".rstrip()


def wait_of(event: Event) -> str:
    """Return the task id of the sensor that waits for an event's image task."""
    return f"{event.name}_wait"


def changed_prompt_of(dag_id: str, event: Event) -> str:
    """Return what the prompt is changed to."""
    return f"{prompt_of(dag_id, event)} changed"


def _prompt(dag_id: str, event: Event, *, changed: bool) -> str:
    first, last = prompt_of(dag_id, event), changed_prompt_of(dag_id, event)
    if event is REFUSED:
        return f"{{{{ {{1: {first!r}, 2: {f'{first} [no-credit]'!r}}}.get(ti.try_number, {last!r}) }}}}"
    return last if changed and event.name == "prompt_changed" else first


def dag_source(
    dag_id: str, service: str, events: Sequence[Event], *, marks: str, ledger_path: str | None, changed: bool = False
) -> str:
    """Return a Dag with a task for each event.

    :param marks: folder where kills are noted.
    :param ledger_path: what its tasks see as ``[imagetasks] ledger_path``; None for none.
    :param changed: whether the Dag is the one that somebody changed in the middle of the run.
    """
    submissions: list[dict[str, Any]] = [
        {
            "task_id": event.name,
            "prompt": _prompt(dag_id, event, changed=changed),
            "conn_id": f"imagetasks_{service}{event.connection}",
            "killed": event.killed,
            "held": event.held,
            # Not before the task runs: Airflow keeps what it renders in the same database.
            "spoilt": "\0\udfff" if event is UNSTORABLE else "",
            # It takes Airflow a minute to miss a frozen one, and a wait must not be over before it is disturbed.
            "priority_weight": 20 if event is FROZEN else 15 if event in WAITS else 1,
            "retries": 1 if changed and event.name == "retries_lowered" else event.retries,
            "waits": event.waits,
            "killed_sensor": event.name == "killed_on_resume",
        }
        for event in events
    ]
    configuration = f'os.environ["AIRFLOW__IMAGETASKS__LEDGER_PATH"] = {ledger_path!r}' if ledger_path else ""
    return _DAG.format(dag_id=dag_id, configuration=configuration, submissions=submissions, marks=marks)
