"""What `logship top` concludes from numbers, with readings made by hand."""

from __future__ import annotations

import pytest

from logship._metrics.sums import Numbers, slot, zeros
from logship._top.figures import Figures, History, Reading, Snapshot
from logship._top.text import view_as_lines


def numbers(**values: float) -> Numbers:
    made = zeros()
    for words, value in values.items():
        name, _, label = words.partition("__")
        made[slot(name, label)] = value
    return made


def figures_of(*readings: tuple[float, Numbers]) -> Figures:
    """Return what is shown of one process after these readings, each taken when it was written."""
    history = History()
    for seconds, made in readings:
        reading = Reading(seconds, made, pid=7)
        view = history.view(Snapshot(reading, {"a": reading}))
    assert view.processes
    [figures] = view.processes
    return figures


def test_rates_and_the_time_until_the_buffer_is_full() -> None:
    before = {"records_accepted_total": 100, "records_acked_total": 90, "buffer_bytes": 1_000}
    now = {"records_accepted_total": 300, "records_acked_total": 98, "buffer_bytes": 5_000}
    shown = figures_of(
        (10.0, numbers(**before, buffer_bytes_max=9_000)),
        (14.0, numbers(**now, buffer_bytes_max=9_000)),
    )
    assert (shown.accepted_per_second, shown.acked_per_second) == (50, 2)
    assert shown.seconds_until_full == 4
    assert shown.seconds_since_ack == 0


def test_one_reading_gives_no_rate_and_a_shrinking_buffer_no_time() -> None:
    shown = figures_of((10.0, numbers(buffer_bytes=5)))
    assert shown.accepted_per_second is shown.seconds_until_full is shown.seconds_since_ack is None
    shown = figures_of((10.0, numbers(buffer_bytes=5)), (11.0, numbers(buffer_bytes=4)))
    assert shown.seconds_until_full is None


def test_a_counter_or_a_clock_that_begins_anew_gives_no_rate_for_a_moment() -> None:
    counted = [(float(at), numbers(records_accepted_total=at * 10)) for at in range(8)]
    assert figures_of(*counted[5:7], *counted[:1]).accepted_per_second is None
    assert figures_of((9.0, counted[0][1]), *counted[1:5]).accepted_per_second == 10
    restarted = [(at + 10.0, made) for at, made in counted]
    assert figures_of(*counted[6:], restarted[0]).accepted_per_second is None
    assert figures_of(*counted[6:], *restarted[:4]).accepted_per_second == 10


def test_the_last_ack_is_the_newest_reading_with_more_acked_records() -> None:
    acked = (5, 8, 8, 8)
    shown = figures_of(*((float(at), numbers(records_acked_total=n)) for at, n in enumerate(acked)))
    assert shown.seconds_since_ack == 2
    none = figures_of(*((float(at), numbers(records_acked_total=5)) for at in range(4)))
    assert (none.seconds_since_ack, none.watched_seconds) == (None, 3)


def test_a_process_that_writes_no_more_has_no_rates() -> None:
    history = History()
    for seconds, accepted in ((1.0, 10), (2.0, 20)):
        reading = Reading(seconds, numbers(records_accepted_total=accepted))
        history.view(Snapshot(reading, {"a": reading}))
    later = history.view(Snapshot(Reading(60.0, reading.numbers), {"a": reading}))
    assert later.processes
    assert later.processes[0].accepted_per_second is None


def test_all_together_has_the_worst_buffer_and_counts_the_dead() -> None:
    history = History()
    calm, full = zeros(), [numbers(buffer_bytes=size, buffer_bytes_max=100) for size in (40, 60)]
    dead = numbers(
        records_dropped_total__overflow=3,
        records_dropped_total__quarantined=4,
        records_spilled_total=5,
        processes_ended_total__killed=1,
        processes_ended_total__drained=2,
    )
    for seconds, made in enumerate(full):
        processes = {"a": Reading(float(seconds), calm, 1), "b": Reading(float(seconds), made, 2)}
        view = history.view(Snapshot(Reading(float(seconds), dead), processes))
    assert view.total.seconds_until_full == 2
    assert (view.total.dropped, view.total.spilled) == (7, 5)
    assert (view.ended, view.killed) == (3, 1)
    assert [each.pid for each in view.processes or ()] == [1, 2]


def test_a_line_has_the_names_of_program_and_script_and_a_short_time() -> None:
    history = History()
    command = "/venv/bin/python3 /venv/bin/gunicorn --chdir /srv/shop"
    for seconds in (0.0, 1.0):
        made = numbers(buffer_bytes=int(seconds), buffer_bytes_max=2_000_000)
        reading = Reading(seconds, made, 4711, command)
        view = history.view(Snapshot(reading, {"a": reading}))
    row = [*view_as_lines(view, "/tmp/pages")][3]
    assert row.endswith("  python3 gunicorn --chdir /srv/shop")
    assert " 23d " in row


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    reading = Reading(1.0, numbers(buffer_bytes=3_000_000), 4711, "python\x1b[2J " + "x" * 500)
    view = History().view(Snapshot(reading, {"a": reading}))
    lines = [*view_as_lines(view, "/tmp/pages", columns)]
    assert max(map(len, lines)) <= columns
    assert not any("\x1b" in line for line in lines)
    if columns == 80:
        assert "spooled" in lines[2]
