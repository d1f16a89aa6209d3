from __future__ import annotations

from benchmarks.observations import StatusObserver, largest_gap, most_within


def test_what_was_seen_between_two_moments_is_counted() -> None:
    observer = StatusObserver()
    observer.note_connection(1.0)
    observer.note_request(["a", "b"], 1.0)
    observer.note_request(["a", "b", "c"], 5.0)
    observer.note_connection(8.0)
    observer.note_request(["a"], 8.0)
    observer.note_request(["a"], 10.0)

    seen = observer.between(2.0, 10.0)

    assert (seen.requests, seen.checks, seen.asked, seen.connections) == (2, 4, 3, 1)
    assert (seen.fewest, seen.most) == (1, 2)


def test_an_image_task_that_was_not_asked_for_counts_as_none() -> None:
    observer = StatusObserver()
    observer.note_request(["early"], 1.0)
    observer.note_request(["late"], 3.0)

    seen = observer.between(2.0, 4.0)

    assert (seen.asked, seen.fewest, seen.most) == (1, 0, 1)


def test_a_gap_begins_with_the_last_check_before_and_ends_with_the_end() -> None:
    assert largest_gap([1.0, 4.0, 6.0], 3.0, 8.0) == 3.0
    assert largest_gap([1.0, 4.0], 3.0, 9.0) == 5.0


def test_a_gap_of_an_image_task_that_was_first_asked_for_later_begins_there() -> None:
    assert largest_gap([5.0, 6.0], 3.0, 7.0) == 1.0
    assert largest_gap([], 3.0, 7.0) == 0.0


def test_the_fullest_window_may_begin_at_any_moment() -> None:
    assert most_within([0.9, 1.0, 1.1, 1.8, 3.0], 1.0, 0.0, 4.0) == 4
    assert most_within([0.0, 1.0, 2.0], 1.0, 0.0, 4.0) == 1
    assert most_within([], 1.0, 0.0, 4.0) == 0
