"""How fast a sidecar acknowledges: the arithmetic."""

from __future__ import annotations

import pytest

from logship._delivery.counters import AckRate


def a_rate(*, ack_seconds: float, size: int, acks: int) -> AckRate:
    """Return a rate after so many acks, one behind the other; the last is at `acks * seconds`."""
    rate = AckRate()
    rate.begin(0.0)
    for number in range(1, acks + 1):
        rate.acked(number * ack_seconds, size)
    return rate


def test_without_an_ack_nothing_is_known() -> None:
    rate = AckRate()
    assert (rate.bytes_per_second(5.0), rate.interval_seconds) == (0.0, 0.0)
    rate.begin(5.0)
    assert (rate.bytes_per_second(6.0), rate.interval_seconds) == (0.0, 0.0)


@pytest.mark.parametrize("ack_seconds", [0.01, 0.25, 2.0])
def test_a_steady_sidecar(ack_seconds: float) -> None:
    rate = a_rate(ack_seconds=ack_seconds, size=1000, acks=10)
    now = 10 * ack_seconds
    assert rate.bytes_per_second(now) == pytest.approx(1000 / ack_seconds, rel=0.5)
    assert rate.interval_seconds == pytest.approx(ack_seconds, rel=0.5)


def test_time_in_which_nothing_is_in_flight_does_not_count() -> None:
    rate = a_rate(ack_seconds=0.1, size=1000, acks=5)
    before = rate.bytes_per_second(0.5)
    rate.end(0.5)
    assert rate.bytes_per_second(100.0) == before
    rate.begin(100.0)
    rate.acked(100.1, 1000)
    assert rate.bytes_per_second(100.1) == pytest.approx(10_000)


def test_the_rate_falls_while_no_ack_comes_and_the_usual_interval_stays() -> None:
    rate = a_rate(ack_seconds=0.1, size=1000, acks=20)
    rates = [rate.bytes_per_second(2.0 + wait) for wait in (0.0, 0.5, 1.0, 2.0, 5.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 20
    assert rate.interval_seconds == pytest.approx(0.1)


def test_what_it_took_long_ago_does_not_matter() -> None:
    rate = a_rate(ack_seconds=0.01, size=1_000_000, acks=100)
    for number in range(1, 21):
        rate.acked(1.0 + number, 1000)
    assert rate.bytes_per_second(21.0) == pytest.approx(1000, rel=0.5)
