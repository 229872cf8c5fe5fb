"""Each measure of `python -m benchmarks all`, once, as small as it can be, with real processes."""

from __future__ import annotations

import io
import itertools
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgpack
import pytest

from benchmarks.conditions import commit
from benchmarks.errors import BenchmarkError
from benchmarks.performance.environments import aiofluent_python
from benchmarks.performance.figures import FIGURES
from benchmarks.performance.goals import verdicts
from benchmarks.performance.handler import OTHER_CASES, PLAIN
from benchmarks.performance.holding import holding
from benchmarks.performance.job import LEAST, QUICK, Job
from benchmarks.performance.latencies import PLACES, SIDECARS
from benchmarks.performance.measures import MEASURES
from benchmarks.performance.programs.frames import Frames
from benchmarks.performance.programs.shapes import Call
from benchmarks.performance.programs.shapes import measure as measure_shapes
from benchmarks.performance.programs.shared import WARM_UP_RECORDS
from benchmarks.performance.programs.sockets import bytes_in_sockets
from benchmarks.performance.results import Key, Measured
from benchmarks.performance.serving import COUNTING, EMBEDDED, serving
from benchmarks.performance.shapes import MSGPACK
from benchmarks.performance.start import ALONE, BASE, IMPORTING, RUNNING, UNDER_RUN
from benchmarks.performance.tables import grid_of
from benchmarks.performance.threads import ONE, TWO
from benchmarks.performance.throughput import (
    ENCODING,
    MANY,
    NO_LIMIT,
    NOWHERE,
    ONE_SHAPE,
    PREPARED,
    PROGRAMS,
    SINK,
    figures_of,
)
from benchmarks.processes import run_program
from benchmarks.records import SAME_NAME, SHAPES, VARIED, VARIED_NAME
from benchmarks.sidecars import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, LEAST, (EMBEDDED, COUNTING))


def value(measured: Measured, figure: str, subject: str, case: str = "") -> float:
    (found,) = measured.by_turn(Key(figure, subject, case)).values()
    return found


def run(name: str, job: Job) -> Measured:
    """Take a measure; what it names is known, and nothing that it measures is free."""
    measured = MEASURES[name].run(job)
    assert measured.conditions["options"]["effort"] == LEAST
    assert measured.conditions["commit"] == commit()
    for sample in measured.samples:
        assert sample.figure in FIGURES
    return measured


def test_throughput_of_all_subjects_and_the_ceilings(job: Job) -> None:
    measured = run("throughput", job)
    rates = {key[1:] for key in measured.all_keys() if key.figure == "records_per_second"}
    assert rates >= {
        (ENCODING, NOWHERE),
        ("logship", "embedded"),
        (MANY, "embedded"),
        ("logship-spool", "embedded"),
        (PREPARED, "embedded"),
        ("logship", COUNTING),
        (MANY, COUNTING),
        (PREPARED, COUNTING),
        ("fluent-logger", SINK),
        ("fluent-logger-async", SINK),
        (PREPARED, SINK),
        ("logship", f"{COUNTING}, {ONE_SHAPE}"),
        (PREPARED, f"embedded, {ONE_SHAPE}"),
    }
    assert all(sample.value > 0 for sample in measured.samples)
    assert value(measured, "server_cpu_seconds_per_record", "logship", "embedded") > 0
    results = {"throughput": measured}
    receivers = ("the counting receiver", "the receiver of lines")
    into = [each for each in verdicts(results) if any(name in each.goal.text for name in receivers)]
    found = [each.spread.median for each in into if each.spread is not None]
    assert len(set(found)) == len(found) == 6, "each way into each has a verdict of its own"


CLOSED = {"04", "05"}
"""States of a socket whose program has closed it and whose peer has not."""


def states_of_clients(port: int) -> set[str]:
    """Return the states of the sockets that are connected to a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {state for _, _, remote, state, *_ in rows if int(remote.split(":")[1], 16) == port}


def test_the_clock_of_a_peer_runs_while_the_server_reads_and_no_longer(tmp_path: Path) -> None:
    """The server reads when its client waits: first for the warm-up, then when it has closed."""
    warm_up = [("benchmark", 1 << 30, record) for record in VARIED[:WARM_UP_RECORDS]]
    warm_up_bytes = sum(map(len, map(msgpack.packb, warm_up)))
    warm_ns: list[int] = []
    read_ns: list[int] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        records, warm = msgpack.Unpacker(), 0
        with connection:
            wait_until(lambda: bytes_in_sockets(port) >= warm_up_bytes, "the client has warmed up")
            while warm < WARM_UP_RECORDS:
                warm_ns.append(time.monotonic_ns())
                records.feed(connection.recv(1 << 20))
                warm += len(list(records))
            wait_until(lambda: bool(states_of_clients(port) & CLOSED), "the client closes")
            while connection.recv(1 << 20):
                read_ns.append(time.monotonic_ns())

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        host, port = listener.getsockname()
        served = pool.submit(serve, listener)
        words = ("fluent-logger", host, port, 0.0, "", VARIED_NAME, "read")
        found = run_program(f"{PROGRAMS}.ship", *words, stderr=tmp_path / "stderr")
        served.result()
    assert found["begun_ns"] > warm_ns[-1], "the warm-up is not a part of the time"
    assert found["ended_ns"] > read_ns[-1]


def test_the_cpu_of_a_server_is_that_of_all_records_that_it_took() -> None:
    found = {"records": 8_000, "warm_up_records": 2_000, "begun_ns": 0, "ended_ns": 1_000_000_000}
    assert figures_of(found | {"cpu_seconds": 0.4}, server_cpu_seconds=0.5) == {
        "records_per_second": 8_000.0,
        "client_cpu_seconds_per_record": 0.4 / 8_000,
        "server_cpu_seconds_per_record": 0.5 / 10_000,
    }


@pytest.mark.parametrize("records", [VARIED_NAME, SAME_NAME])
def test_the_bare_socket_warms_a_server_up_as_a_shipper_does(job: Job, records: str) -> None:
    with serving(job, COUNTING) as server:
        words = (*server.address, 0.05, "acked", NO_LIMIT, records)
        found = run_program(f"{PROGRAMS}.frames", *words, stderr=job.stderr)
    assert found["warm_up_records"] >= WARM_UP_RECORDS


def test_prepared_frames_are_of_this_moment() -> None:
    """As an EventTime: seconds, and fewer nanoseconds than a second has."""
    before = int(time.time())
    (entry, *_) = msgpack.Unpacker(io.BytesIO(Frames(VARIED).entries))
    seconds, nanoseconds = struct.unpack(">II", entry[0].data)
    assert before <= seconds <= before + 60
    assert nanoseconds < 1_000_000_000


def test_the_cost_of_a_call(job: Job) -> None:
    measured = run("handler", job)
    assert {key.subject for key in measured.all_keys()} >= {"nothing", "logship", "fluent-logger"}
    assert {key.case for key in measured.all_keys()} == {PLAIN, *OTHER_CASES}
    assert all(sample.value > 0 for sample in measured.samples)


def test_the_cost_of_each_shape(job: Job) -> None:
    measured = run("shapes", job)
    subjects = {key.subject for key in measured.all_keys()}
    assert subjects == {MSGPACK, "logship", "logship-spool"}
    assert {key.case for key in measured.all_keys()} == {VARIED_NAME, *SHAPES}
    assert all(sample.value > 0 for sample in measured.samples)


def test_calls_that_are_compared_alternate_in_each_shape() -> None:
    made: list[str] = []
    order: list[str] = []
    calls: dict[str, Call] = {
        name: partial(lambda name, record: made.append(name), name) for name in "abc"
    }
    measure_shapes(calls, rest=lambda: order.append(made[-1]), blocks=1)
    shapes = 1 + len(SHAPES)
    assert order == [*"abc"] * shapes + [*"cba"] * shapes


def test_what_threads_emit_together(job: Job) -> None:
    measured = run("threads", job)
    assert value(measured, "emitted_per_second", "logship", ONE) > 0
    assert value(measured, "emitted_per_second", "logship", TWO) > 0


def test_leaving_takes_time_and_cpu(job: Job) -> None:
    measured = run("leaving", job)
    figures = {key.figure for key in measured.all_keys()}
    assert figures == {"leave_seconds", "leave_cpu_seconds"}


def test_the_cost_of_a_start(job: Job) -> None:
    measured = run("start", job)
    starts = {key[1:] for key in measured.all_keys() if key.figure == "import_seconds"}
    assert starts == {(BASE, IMPORTING), ("logship", IMPORTING), ("fluent-logger", IMPORTING)}
    commands = {key.subject for key in measured.all_keys() if key.case == RUNNING}
    assert commands == {ALONE, UNDER_RUN}
    assert all(sample.value > 0 for sample in measured.samples)


def test_a_full_buffer_is_drained(job: Job) -> None:
    measured = run("drain", job)
    assert value(measured, "drain_seconds", "logship", "embedded") > 0
    assert value(measured, "drain_seconds", "logship", COUNTING) > 0
    rates = [
        value(measured, "drained_bytes_per_second", subject, "embedded")
        for subject in ("logship-spool", PREPARED)
    ]
    rows = grid_of(MEASURES["drain"], measured).rows
    (ratio,) = (row[-1] for row in rows if row[:2] == ["embedded", "logship-spool"])
    assert float(ratio) == pytest.approx(rates[0] / rates[1], abs=0.01), "not of unequal bytes"


def test_memory_through_a_life(job: Job) -> None:
    measured = run("memory", job)
    full = value(measured, "rss_full_bytes", "logship")
    assert full - value(measured, "rss_idle_bytes", "logship") > 10 << 20
    assert value(measured, "rss_soak_bytes", "logship") > 0


def test_bytes_on_the_wire_are_counted(job: Job) -> None:
    measured = run("wire", job)
    peer = value(measured, "wire_bytes_per_record", "fluent-logger")
    ours = value(measured, "wire_bytes_per_record", "logship")
    assert 400 < peer < ours < 600  # the stamp is ours alone


def test_the_shippers_cpu_is_the_difference_to_a_handler_that_does_nothing(job: Job) -> None:
    measured = run("light", job)
    of_the_process = value(measured, "cpu_share", "logship")
    share = of_the_process - value(measured, "cpu_share", "nothing")
    assert value(measured, "shipper_cpu_share", "logship") == pytest.approx(share)


def test_latency_has_figures_for_each_sidecar_in_each_place(job: Job) -> None:
    measured = run("latency", job)
    assert {key[1:] for key in measured.all_keys()} == {*itertools.product(PLACES, SIDECARS)}
    figures = {key.figure for key in measured.all_keys()}
    assert figures == {"emit_p50_ns", "emit_p99_ns", "emit_max_ns"}, "of so few calls no p99.9"


def test_conditions_of_latency_take_turns(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, str]] = []

    def time_nothing(job: Job, sidecar: str, place: str, records: int) -> list[int]:
        order.append((place, sidecar))
        return [1] * 1_000

    monkeypatch.setattr("benchmarks.performance.latencies._nanoseconds_of_calls", time_nothing)
    MEASURES["latency"].run(replace(job, effort=QUICK))
    once = [*itertools.product(PLACES, SIDECARS)]
    assert order == once + once[::-1]


def test_percentiles_are_of_every_call(tmp_path: Path) -> None:
    words = (f"tcp://127.0.0.1:{free_port()}", "thread", "open", 1_500, 30_000.0)
    program = "benchmarks.performance.programs.latency"
    took = run_program(program, *words, stderr=tmp_path / "stderr")
    assert len(took) == 1_500
    assert took == sorted(took)


def test_a_call_is_timed_with_every_variant_of_settings(job: Job) -> None:
    measured = run("emit", job)
    variants = {key.subject for key in measured.all_keys()}
    assert variants == {"memory", "spool", "fields", "context", "redact", "metrics", "scraped"}
    for variant in variants:
        median, most = (value(measured, f"emit_{name}_ns", variant) for name in ("p50", "max"))
        assert 0 < median <= most


def test_loss_is_judged_for_each_shipper(job: Job) -> None:
    measured = run("loss", job)
    for shipper in ("logship", "logship-spool", "fluent-logger", "fluent-logger-async"):
        assert value(measured, "lost", shipper, "none") == 0
        assert value(measured, "dropped", shipper, "none") == 0
        assert value(measured, "duplicated", shipper, "none") == 0
        assert value(measured, "delivered", shipper, "none") > 100


def test_a_program_that_fails_is_said_where_it_was(job: Job) -> None:
    with (
        serving(job, "embedded") as served,
        holding(job, "logship", served.address) as holder,
        pytest.raises(BenchmarkError, match=r"ended during nonsense; see .*stderr"),
    ):
        holder.tell("nonsense")
    assert "nonsense" in job.stderr.read_text()


def test_an_environment_that_is_not_there_is_a_reason_to_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.performance.environments.REPOSITORY", tmp_path)
    with pytest.raises(BenchmarkError, match="no time"):
        aiofluent_python(may_make=False)
