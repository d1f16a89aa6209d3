from __future__ import annotations

import random
from itertools import pairwise

import pytest

from airflow_provider_imagetasks.accounts.turn_times import next_turns, ranks_for
from airflow_provider_imagetasks.services.rates import Window


def taken(groups: list[tuple[float, int]], *windows: Window) -> list[float]:
    """Return the turns that askers get who come at a moment and want so many."""
    turns: list[float] = []
    for now, wanted in groups:
        newest = turns[::-1]
        latest = {
            window: {rank: newest[rank - 1] for rank in ranks_for(window, wanted) if rank <= len(newest)}
            for window in windows
        }
        last = turns[-1] if turns else None
        turns += next_turns(wanted, windows, latest, not_before=now, last=last)
    return turns


@pytest.mark.parametrize("seed", range(20))
def test_no_window_ever_holds_more_than_it_may_however_many_are_asked_for_together(seed: int) -> None:
    chance = random.Random(seed)
    windows = (Window(chance.randint(1, 5), 1), Window(chance.randint(5, 30), 10))
    now, groups = 1_000.0, []
    for _ in range(40):
        now += chance.choice([0, 0, 0.1, 1, 5])
        groups.append((now, chance.randint(1, 12)))

    turns = taken(groups, *windows)

    assert all(before <= after for before, after in pairwise(turns))
    for window in windows:
        for first, later in zip(turns, turns[window.count :], strict=False):
            assert later - first > window.seconds


def test_what_is_free_is_given_at_once_and_no_more_is_lost_than_the_slack() -> None:
    turns = taken([(0.0, 20), (0.0, 20), (100.0, 20)], Window(20, 10))

    assert turns[:20] == [0.0] * 20
    assert turns[20:40] == [pytest.approx(10.3)] * 20
    assert turns[40:] == [100.0] * 20
