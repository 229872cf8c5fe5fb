"""What was found, in a few sentences: the beginning of every page of results."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.performance.figures import FIGURES
from benchmarks.performance.handler import NOTHING, PLAIN
from benchmarks.performance.results import Key, Measured, Results
from benchmarks.performance.serving import COUNTING
from benchmarks.performance.throughput import SINK
from benchmarks.performance.words import machine_line

_OURS = "logship"
_PEER = "fluent-logger"


def summary_of(results: Results) -> list[str]:
    """Return the sentences; each names what was measured, and none is there without its figures."""
    return [
        *_loss(results.get("loss", Measured({}))),
        *_throughput(results.get("throughput", Measured({}))),
        *_call(results.get("handler", Measured({}))),
        *_machine(results),
    ]


def _loss(measured: Measured) -> Iterator[str]:
    subjects = list(dict.fromkeys(key.subject for key in measured.all_keys()))
    told = [f"{subject} {_lost(measured, subject)}" for subject in subjects]
    if told:
        cases = len({key.case for key in measured.all_keys()})
        yield f"Lines lost over {cases} kinds of faults and stops: {', '.join(told)}."


def _lost(measured: Measured, subject: str) -> str:
    """Return how many lines of how many were lost, all runs together."""
    count = {
        figure: sum(
            sample.value
            for sample in measured.samples
            if (sample.figure, sample.subject) == (figure, subject)
        )
        for figure in ("lost", "spilled", "dropped", "delivered")
    }
    return f"{count['lost']:,.0f} of {sum(count.values()):,.0f}"


def _throughput(measured: Measured) -> Iterator[str]:
    key = Key("records_per_second", _OURS, COUNTING)
    rate, ratio = measured.spread(key), measured.ratio(key, key._replace(subject=_PEER, case=SINK))
    if rate is not None and ratio is not None:
        yield (
            f"Into a receiver that counts, logship had {rate.median:,.0f} records a second "
            f"acknowledged, {ratio.median:.1f} times what fluent-logger wrote to a socket "
            "without any acknowledgement."
        )


def _call(measured: Measured) -> Iterator[str]:
    key = Key("call_ns", _OURS, PLAIN)
    call, ratio = measured.spread(key), measured.ratio(key, key._replace(subject=NOTHING))
    if call is not None and ratio is not None:
        shown = FIGURES["call_ns"].shown(call.median)
        yield (
            f"A logging call took {shown} µs with logship, {ratio.median:.2f} times as long as "
            "with a handler that does nothing."
        )


def _machine(results: Results) -> Iterator[str]:
    for measured in results.values():
        if line := machine_line(measured):
            yield f"Measured on {line}."
            return
