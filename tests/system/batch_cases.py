"""What may happen to a batch while it is paid for, its Dags, and the table of outcomes in ``docs/outcomes.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.scripted_server import Reply
from tests.status_route import PAGE_404
from tests.system.money_table import around_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "outcomes.md"
TABLE = "batch"
ROW_TIMEOUT = 25
"""Seconds that a row of a broken status route has."""
BILLED = {"no": "not billed", "yes": "billed", "unknown": "may have been billed"}


@dataclass(frozen=True)
class Case:
    """A batch and what happens to it.

    :param name: its Dag id, and the first word of its prompts.
    :param title: its row in the documentation.
    :param directives: what each row's prompt asks of the local service.
    :param broken: what the status route answers until it is mended.
    :param broken_times: how often; None until the batch has failed.
    :param arguments: of the operator.
    :param cleared: whether it is cleared at last.
    """

    name: str
    title: str
    directives: Sequence[str]
    service: str = "acedatacloud"
    broken: Reply | None = None
    broken_times: int | None = None
    arguments: Mapping[str, Any] | None = None
    cleared: bool = True

    @property
    def prompts(self) -> list[str]:
        """Return the prompt of each row, by whose first word its image tasks are counted."""
        return [f"{self.name} {number} {directives}".rstrip() for number, directives in enumerate(self.directives)]


THREE = ["[latency=4]"] * 3
CASES = (
    Case(
        "status_mended",
        "status route answers a proxy's 404 page, and is mended in time",
        THREE,
        broken=PAGE_404,
        broken_times=3,
        arguments={"deferrable": True},
        cleared=False,
    ),
    Case(
        "status_404",
        "deferred, and the status route answers a proxy's 404 page until the rows' `timeout`; mended, Clear",
        THREE,
        broken=PAGE_404,
        arguments={"deferrable": True, "timeout": ROW_TIMEOUT},
    ),
    Case(
        "status_500",
        "in a worker, and the status route answers 500 until the rows' `timeout`; mended, Clear",
        THREE,
        broken=Reply(b"", status=500),
        arguments={"timeout": ROW_TIMEOUT},
    ),
    Case(
        "thawed",
        "frozen in the middle of 12 submissions, marked failed, cleared; thawed when the other start has ended",
        ["[latency=2]"] * 12,
        arguments={"submit_rate": "1/s"},
        cleared=False,
    ),
    Case(
        "failing",
        "1 of 3 rows fails unbilled, each time while deferred; Clear",
        ["[fail] [latency=4]", "[latency=4]", "[latency=4]"],
        arguments={"deferrable": True},
    ),
    Case(
        "folder_gone",
        "its folder is gone when it comes back from the triggerer; brought back, Clear",
        THREE,
        arguments={"deferrable": True},
    ),
    Case(
        "always_500",
        "each submission of 1 of 2 rows is answered with HTTP 500, and none accepted; Clear",
        ["[500]", ""],
    ),
    Case(
        "always_500_kie",
        "the same at kie.ai, which cannot tell",
        ["[500]", ""],
        service="kie",
    ),
)

_DAG = """
import os
from pathlib import Path

from airflow_provider_imagetasks.batch.arguments import BatchLimits


class TellingItsProcess(ImageBatchOperator):
    # What is absent at the local service now will be absent in a minute: it writes an image task down at once.
    limits = BatchLimits(not_found_grace=10.0)

    def execute(self, context):
        Path({folder!r}, f"{{self.dag_id}}.{{context['ti'].try_number}}.pid").write_text(str(os.getpid()))
        return super().execute(context)


for name, prompts, arguments in {batches!r}:
    with DAG(name, schedule=None):
        usual = {{"deferrable": False, "poll_interval": 2, "retries": 0, "retry_delay": timedelta(seconds=1)}}
        TellingItsProcess(
            task_id="batch",
            prompts=prompts,
            conn_id=f"imagetasks_{{name}}",
            output_path=f"file://{folder}/{{name}}",
            options={{"size": "256x256"}},
            **usual | arguments,
        )
"""


def dag_source(folder: Path) -> str:
    """Return a Dag for each case; the pictures of each go to a folder of its name, and its process ids beside it."""
    batches = [(case.name, case.prompts, dict(case.arguments or {})) for case in CASES]
    return _DAG.format(folder=str(folder), batches=batches)


@dataclass(frozen=True)
class Ending:
    """What a batch came to, from its start, or from a Clear.

    :param created: image tasks that the service created meanwhile.
    :param unaccepted: submissions that it answered with 500 and did not accept.
    :param delivered: rows whose pictures are in place; None where there is no manifest.
    :param error: what the task says of its failure: ``{class, code, message, billed}``; None where it succeeded.
    :param log: of its last try.
    """

    created: int
    unaccepted: int
    state: str
    delivered: int | None
    error: Mapping[str, Any] | None
    log: str

    def words(self, rows: int) -> str:
        """Return what the documentation says of it."""
        said = [f"{self.created} image task{'' if self.created == 1 else 's'}"]
        if self.unaccepted:
            said.append(f"{self.unaccepted} submission{'' if self.unaccepted == 1 else 's'} not accepted")
        if self.delivered is not None:
            said.append(f"{self.delivered} of {rows} rows delivered")
        if self.error is not None:
            code = f" (`{self.error['code']}`)" if self.error["code"] else ""
            said.append(f"fails: `{self.error['class']}`{code}, {BILLED[self.error['billed']]}")
        return "; ".join(said)


def cells_of(case: Case, endings: Sequence[Ending]) -> list[str]:
    """Return the cells of the documentation's table beside the title of a case."""
    cells = [ending.words(len(case.prompts)) for ending in endings]
    return [cells[0], cells[1] if case.cleared else ""]


def documented() -> dict[str, list[str]]:
    """Return the cells of each case in the documentation's table, by the case's name."""
    _, table, _ = around_table(PAGE, TABLE)
    names = {case.title: case.name for case in CASES}
    _head, _line, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {names[title]: cells for title, *cells in rows}


def write(seen: Mapping[str, Sequence[Ending]]) -> None:
    """Replace the documentation's table by what was observed."""
    lines = ["| | What came of it | Clear |", "|---|---|---|"]
    lines += [f"| {case.title} | {' | '.join(cells_of(case, seen[case.name]))} |" for case in CASES]
    before, _, after = around_table(PAGE, TABLE)
    PAGE.write_text("\n".join([before, *lines, after]))
