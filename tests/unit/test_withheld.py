"""Records that `redact` keeps back: counted, numbered, declared, and nowhere to be read."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest

from logship._installation.console import console_handler
from logship._installation.handler import Handler
from logship._reasons import WITHHELD
from logship.errors import ClientClosed
from logship.testing import Sidecar
from tests.unit.clients import Stderr, a_background_client, a_client

SECRET = "hunter2"


def raises(record: Any) -> Any:
    if "password" in record:
        raise KeyError("a bug in the application")
    return record


def returns_nothing(record: Any) -> Any:
    return None if "password" in record else record


def secret(number: int) -> dict[str, Any]:
    return {"message": f"m{number}", "password": SECRET}


def numbers(sidecar: Sidecar) -> list[int]:
    return [int(each.record["logship_id"][13:]) for each in sidecar.delivered]


def gaps(sidecar: Sidecar) -> list[list[Any]]:
    found = [each.record.get("logship_gap") for each in sidecar.delivered]
    return [each for each in found if each is not None]


def returns_a_list(record: Any) -> Any:
    return [record] if "password" in record else record


@pytest.mark.parametrize("redact", [raises, returns_nothing, returns_a_list])
def test_a_withheld_record_is_counted_and_declared(
    sidecar: Sidecar, stderr: Stderr, redact: Callable[[Any], Any]
) -> None:
    client = a_background_client(sidecar, stderr, redact=redact, linger_seconds=60.0)
    assert client.emit({"message": "first"})
    assert not client.emit(secret(1))
    client.send(secret(2))  # it was taken, as far as the caller is concerned
    client.send_many([secret(3), {"message": "last"}, secret(4)])
    report = client.close(timeout=10)
    assert (report.accepted, report.acked, report.dropped, report.withheld) == (6, 2, 4, 4)
    assert report.all_acked
    assert SECRET not in str(sidecar.delivered)
    assert gaps(sidecar) == [[3, 6, WITHHELD]]  # one range for all of them
    (stream,) = report.streams
    assert stream.dropped == []  # the sidecar has what declares it
    assert sorted([*numbers(sidecar), *range(3, 7)]) == list(range(1, stream.last + 1))
    end = sidecar.delivered[-1].record
    assert (end["logship_accepted"], end["logship_refused"]) == (6, 0)


@pytest.mark.parametrize("redact", [raises, returns_nothing])
def test_one_warning_says_why_and_shows_no_secret(
    sidecar: Sidecar, stderr: Stderr, redact: Callable[[Any], Any]
) -> None:
    client = a_background_client(sidecar, stderr, redact=redact)
    for number in range(50):
        client.emit(secret(number))
    client.close(timeout=10)
    (warning,) = [line for line in stderr.lines() if "withheld" in line]
    assert "redact r" in warning
    assert SECRET not in str(stderr.lines())


def test_a_closed_client_refuses_what_it_would_withhold(sidecar: Sidecar, stderr: Stderr) -> None:
    client = a_background_client(sidecar, stderr, redact=returns_nothing)
    client.close(timeout=10)
    assert not client.emit(secret(1))
    with pytest.raises(ClientClosed):
        client.send(secret(2))
    record = logging.LogRecord("name", logging.INFO, "", 1, "late", None, None)
    record.password = SECRET
    Handler(client).handle(record)
    report = client.shipper.buffer.report("late", 0.0)
    assert (report.refused, report.refused_lines) == (3, 0)  # it is withheld, as before the end
    assert SECRET not in str(stderr.lines())


def test_what_was_withheld_is_not_acked_with_a_dead_sidecar(
    sidecar: Sidecar, stderr: Stderr
) -> None:
    sidecar.acks = False
    client = a_background_client(sidecar, stderr, redact=returns_nothing)
    client.emit({"message": "first"})
    client.emit(secret(1))
    report = client.close(timeout=0.5)
    (stream,) = report.streams
    assert stream.dropped == [(2, 2, WITHHELD)]
    assert not report.all_acked


async def test_the_asyncio_client_withholds_too(sidecar: Sidecar, stderr: Stderr) -> None:
    async with a_client(sidecar, stderr, redact=returns_nothing) as client:
        await client.send(secret(1))
        await client.send_many([secret(2), {"message": "kept"}])
        assert (await client.flush(10)).all_acked
    assert gaps(sidecar) == [[1, 2, WITHHELD]]


class Unreadable:
    def __str__(self) -> str:
        raise ValueError("a bug in the application")


@pytest.mark.parametrize(
    ("value", "shown"), [(b"a text", "a text"), (Unreadable(), "<Unreadable: ")]
)
def test_the_console_shows_what_a_function_returns_as_it_is_shipped(
    sidecar: Sidecar, stderr: Stderr, value: Any, shown: str
) -> None:
    client = a_background_client(sidecar, stderr, redact=lambda _: {"message": value})
    console, text = console_handler(client), io.StringIO()
    assert isinstance(console, logging.StreamHandler)
    console.setStream(text)
    console.handle(logging.LogRecord("shop", logging.ERROR, "", 1, "hello", None, None))
    assert f"ERROR : {shown}" in text.getvalue()
    client.close(timeout=10)
