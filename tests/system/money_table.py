"""The tables of outcomes in ``docs/outcomes.md``: written from what was observed, and compared with it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from tests.system.money_cases import EVENTS, NEVER_SEEN, SERVICES, Event
from tests.system.money_clears import CLEARS
from tests.system.money_observations import Observation

PAGE = Path(__file__).resolve().parents[2] / "docs" / "outcomes.md"
STATE_STORE, LEDGER_PATH, NOTHING = "state-store", "ledger-path", "nothing"
EMPTIED_STORE = "emptied-store"
"""Airflow's own store, of which the Clear of a person throws away what the task had."""
WAYS_TO_CLEAR = "ways-to-clear"
"""A table beside that one: what each way of a Clear comes to."""
TITLES = {
    "acedatacloud": "AceDataCloud",
    "xhuoapi": "XHuoAPI",
    "aigptimage": "AI GPT Image",
    "kie": "kie.ai",
    "fal": "fal",
    "replicate": "Replicate",
    "openai": "OpenAI",
    "acedatacloud_mcp": "AceDataCloud MCP",
    "gpt_image_mcp": "GPT-Image MCP",
}
END = "<!-- end of outcomes -->"
OR = " or "
NOT_TRIED = "not tried"
TWO_WAYS = {(NOTHING, "cleared_while_running"), (EMPTIED_STORE, "cleared_while_running")}
"""Where Airflow goes one of two ways, by store and event: as after a Clear or as for a retry, whichever of its
processes notices first that the cleared task has ended. Without a record, only a retry can be told from a new start."""


def stores_of_this_airflow() -> tuple[str, ...]:
    """Return where the installed Airflow can keep the ledger."""
    version = tuple(int(number) for number in importlib.metadata.version("apache-airflow").split(".")[:2])
    if version >= (3, 4):
        return (EMPTIED_STORE,)
    return (STATE_STORE,) if version >= (3, 3) else (LEDGER_PATH, NOTHING)


def rows_of(store: str) -> tuple[Event, ...]:
    """Return the events of a table, in the order of its rows."""
    return CLEARS if store == WAYS_TO_CLEAR else EVENTS


def documented(store: str) -> dict[tuple[str, str], set[str]]:
    """Return what may come of each event as a store's table says, by service and the event's name."""
    _, table, _ = around_table(PAGE, store)
    names = {event.title: event.name for event in rows_of(store)}
    services = {title: service for service, title in TITLES.items()}
    head, _line, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    cells = {}
    for title, *outcomes in rows:
        cells.update(
            {(services[name], names[title]): set(cell.split(OR)) for name, cell in zip(head[1:], outcomes, strict=True)}
        )
    return cells


def write(store: str, observations: Mapping[tuple[str, str, str], Observation]) -> None:
    """Replace the table of a store by what was observed; the columns of services that were not stay."""
    known = documented(store)
    for (kept_in, service, event_name), observed in observations.items():
        if kept_in != store:
            continue
        # Of two ways earlier runs saw the one that this did not.
        before = known.get((service, event_name), set()) - {NOT_TRIED} if (store, event_name) in TWO_WAYS else set()
        known[service, event_name] = before | {observed.cell}
    known |= {key: {reason} for key, reason in NEVER_SEEN.items()}
    lines = ["| | " + " | ".join(TITLES[service] for service in SERVICES) + " |", "|---" * (1 + len(SERVICES)) + "|"]
    for event in rows_of(store):
        cells = [OR.join(sorted(known.get((service, event.name), {NOT_TRIED}))) for service in SERVICES]
        lines.append(f"| {event.title} | {' | '.join(cells)} |")
    before, _, after = around_table(PAGE, store)
    PAGE.write_text("\n".join([before, *lines, after]))


def around_table(page: Path, name: str) -> tuple[str, str, str]:
    """Return what stands before, in and after a table of a page; the markers belong to what is around it."""
    start = f"<!-- outcomes: {name} -->"
    before, rest = page.read_text().split(f"{start}\n")
    table, after = rest.split(END, maxsplit=1)
    return before + start, table.strip(), END + after
