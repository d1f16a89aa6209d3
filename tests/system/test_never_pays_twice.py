"""No picture is paid for twice and none is lost, whatever ends the process that submits it: counted at the service.

The short form kills and cuts; the long form (``make test-chaos``) does everything, for every service. With
``WRITE_DOCS=1`` the long form writes the tables of ``docs/outcomes.md``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.postgresql_server import PostgresqlServer
from tests.system import missed_heartbeats, money_table
from tests.system.deployments import QUEUE_SERVICES, RESPONSE_SERVICES, REST_SERVICES, TOOL_SERVICES
from tests.system.money_cases import (
    CHANGED,
    EVENTS,
    FROZEN,
    HASTY,
    KILLED_AND_CUT,
    NEVER_SEEN,
    SUBMISSIONS,
    WAITS,
    WATCHED,
    Event,
)
from tests.system.money_clears import CLEARS, together
from tests.system.money_director import Director, Scene
from tests.system.money_interventions import MISLEADING, Interventions, make_second_triggerer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

STORES = money_table.stores_of_this_airflow()
CLEARED = {money_table.WAYS_TO_CLEAR: CLEARS} if money_table.EMPTIED_STORE in STORES else {}
"""What is cleared in each of its ways, by the table: where it matters."""
LONG_SERVICES = tuple(os.environ.get("MONEY_SERVICES", ",".join(REST_SERVICES)).split(","))
"""Which services the long form is for; with ``WRITE_DOCS=1`` the columns of the others stay as they are. All at once
are too many for the waits to last as long as what disturbs them."""
SHORT_SERVICES = ("acedatacloud", "aigptimage", "kie")
LONG_ONLY = ("killed_after_xcom", "no_answer", "error_500", "rate_limited")
SHORT_EVENTS = tuple(event for event in KILLED_AND_CUT if event.name not in LONG_ONLY)
AT_ONCE = ("cleared_while_running", FROZEN.name)
"""What has two starts of a task at once, of which each submits where there is no record."""
SAYS_ON_KILL = re.compile(r"\(cancel_on_kill\)|(invoking|without) on_kill")
"""What our advice names, and what Airflow writes of each wait whose trigger can cancel, also of one that moves."""
CANNOT_TELL = ("kie", *QUEUE_SERVICES, *RESPONSE_SERVICES, *TOOL_SERVICES)
"""Services that neither find a submission again nor recognise a repetition."""


def scenes(
    name: str, services: Sequence[str], events: Sequence[Event], folder: Path, stores: Sequence[str] = STORES
) -> list[Scene]:
    """Return a Dag for each store and service."""
    return [
        Scene(
            dag_id=f"{name}_{store}_{service}",
            store=store,
            service=service,
            events=[event for event in events if (service, event.name) not in NEVER_SEEN],
            ledger_path=f"file://{folder}/ledger" if store == money_table.LEDGER_PATH else None,
        )
        for store in stores
        for service in services
    ]


def clearing_scenes(services: Sequence[str], folder: Path) -> list[Scene]:
    """Return the Dags whose tasks are cleared in each way."""
    return [
        Scene(
            dag_id=f"clears_{name}_{service}",
            store=money_table.WAYS_TO_CLEAR,
            service=service,
            events=events,
            ledger_path=f"file://{folder}/ledger" if events[0].keeps_copy else None,
        )
        for name, events in together(CLEARS).items()
        for service in services
    ]


@pytest.fixture(scope="module")
def short(
    airflow_deployment: AirflowDeployment,
    local_service: LocalImageServiceProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Director:
    folder = tmp_path_factory.mktemp("money")
    director = Director(airflow_deployment, local_service, folder)
    submitting = scenes("money", SHORT_SERVICES, SHORT_EVENTS, folder)
    director.begin(submitting)
    director.perform([director.submission(scene, event) for scene in submitting for event in scene.events], timeout=240)
    return director


@pytest.fixture(scope="module")
def postgresql(orderly_termination: None) -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def long_deployment(
    image_service: LocalImageServiceProcess, postgresql: PostgresqlServer
) -> Iterator[AirflowDeployment]:
    """An Airflow of its own, whose triggerers may be frozen and killed, with connections that soon lose patience."""
    connections = {
        f"AIRFLOW_CONN_IMAGETASKS_{service}{kind}".upper(): image_service.connection(service, **extra)
        for service in LONG_SERVICES
        # Of the others an answer is awaited until somebody acts, however busy the machine is.
        for kind, extra in (("", {"request_timeout": 300}), (HASTY, {"request_timeout": 2}))
    }
    # Soon enough that a worker which died together with its scheduler is missed within the test.
    missed_after = {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60"}
    # Beside six tasks at once, those that stand frozen.
    parallelism = 6 + len(STORES) * len(LONG_SERVICES)
    deployment = AirflowDeployment(
        environment={**connections, **missed_after}, parallelism=parallelism, database_url=postgresql.url()
    )
    if CLEARED:
        plugins = deployment.home / "plugins"
        plugins.mkdir()
        shutil.copy(missed_heartbeats.__file__, plugins)
    with deployment:
        yield deployment


@pytest.fixture(scope="module")
def interventions(
    long_deployment: AirflowDeployment,
    image_service: LocalImageServiceProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Interventions:
    folder = tmp_path_factory.mktemp("money")
    director = Director(long_deployment, image_service, folder)
    second_triggerer = make_second_triggerer(long_deployment)
    interventions = Interventions(director, second_triggerer)
    waiting = scenes("waits", LONG_SERVICES, WAITS, folder)
    changed = scenes("changed", LONG_SERVICES, CHANGED, folder)
    submitting = scenes("money", LONG_SERVICES, SUBMISSIONS, folder)
    watched = scenes("watched", LONG_SERVICES, WATCHED, folder)
    frozen = scenes("frozen", LONG_SERVICES, [FROZEN], folder)
    try:
        director.begin([*frozen, *waiting, *changed, *submitting, *watched])
        plays = [interventions.disturb_triggerers(waiting), *(interventions.change_dag(scene) for scene in changed)]
        plays += [interventions.wait(scene, event) for scene in (*waiting, *watched) for event in scene.events]
        plays += [interventions.thaw(scene, FROZEN) for scene in frozen]
        plays += [director.submission(scene, event) for scene in (*changed, *submitting) for event in scene.events]
        director.perform(plays, timeout=900)
        # Afterwards, so that the waits last as long as what disturbs them.
        clearing = clearing_scenes(LONG_SERVICES, folder) if CLEARED else []
        director.begin(clearing)
        plays = [director.submission(scene, event) for scene in clearing for event in scene.events]
        director.perform(plays, timeout=900)
    finally:
        second_triggerer.stop(grace=3)
        interventions.thaw_all(frozen)
    if os.environ.get("WRITE_DOCS"):
        for table in (*STORES, *CLEARED):
            money_table.write(table, director.observations)
    return interventions


@pytest.fixture(scope="module")
def long(interventions: Interventions) -> Director:
    return interventions.director


CASES = [
    pytest.param(form, store, service, event, id=f"{form}-{store}-{service}-{event.name}", marks=marks)
    for form, services, tables, marks in (
        ("short", SHORT_SERVICES, dict.fromkeys(STORES, SHORT_EVENTS), ()),
        ("long", LONG_SERVICES, dict.fromkeys(STORES, EVENTS) | CLEARED, (pytest.mark.long,)),
    )
    for store, events in tables.items()
    for service in services
    for event in events
    if (service, event.name) not in NEVER_SEEN
]


@pytest.mark.parametrize(("form", "store", "service", "event"), CASES)
def test_each_life_of_a_task_makes_one_picture_or_says_that_nobody_knows(
    request: pytest.FixtureRequest, form: str, store: str, service: str, event: Event
) -> None:
    observation = request.getfixturevalue(form).observations[store, service, event.name]

    is_blind = (service in CANNOT_TELL and event.killed is not None) or event.name in AT_ONCE
    pays_twice = store == money_table.NOTHING and is_blind
    # A person asks for another picture there, while the first one is made.
    pays_twice |= store == money_table.EMPTIED_STORE and event.name == "cleared_while_running"
    assert observation.faults(pays_twice=pays_twice) == [], observation


@pytest.mark.parametrize(("form", "store", "service", "event"), CASES)
def test_the_documentation_says_what_happens(
    request: pytest.FixtureRequest, form: str, store: str, service: str, event: Event
) -> None:
    observation = request.getfixturevalue(form).observations[store, service, event.name]

    logs = "\n\n".join(life.log for life in observation.lives)
    assert observation.cell in money_table.documented(store)[service, event.name], logs


@pytest.mark.long
@pytest.mark.parametrize(
    ("service", "event"),
    [
        pytest.param(service, event, id=f"{service}-{event.name}")
        for service in LONG_SERVICES
        for event in (*WAITS, *WATCHED)
        if (service, event.name) not in NEVER_SEEN
    ],
)
@pytest.mark.parametrize("store", STORES)
def test_a_disturbed_wait_goes_on_and_its_log_does_not_mislead(
    interventions: Interventions, store: str, service: str, event: Event
) -> None:
    log = "\n".join(
        line
        for line in interventions.logs[store, service, event.name].lower().splitlines()
        if not SAYS_ON_KILL.search(line)
    )

    assert [words for words in MISLEADING if words in log] == [], log
