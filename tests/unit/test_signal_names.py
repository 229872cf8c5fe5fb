"""Signals by name and by number."""

from __future__ import annotations

import signal

import pytest

from logship._signal_names import signal_name, signal_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        (" sigquit ", signal.SIGQUIT),
        ("3", signal.SIGQUIT),
        ("POLL", signal.SIGIO),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-2", signal.SIGRTMAX - 2),
    ],
)
def test_each_spelling_is_read(text: str, number: int) -> None:
    assert signal_number(text) == number
    assert signal_number(signal_name(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "SIG", "FOO", "SIG_DFL", "TERM\0", "RTMIN+3 TERM"),
        *("0", "-15", "65", "²", "9" * 5000),
        *("RTMIN+", "RTMIN+٣", "RTMIN-1", "RTMAX+1"),
    ],
)
def test_what_is_no_signal_has_no_number(text: str) -> None:
    assert signal_number(text) is None


def test_real_time_signals_have_names() -> None:
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
