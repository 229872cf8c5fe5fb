"""Attempts that run beside each other: one outcome, and nothing left of the others."""

from __future__ import annotations

import asyncio
import functools

import pytest

from logship.delivery.racing import first_to_succeed


async def attempt(outcome: str | Exception, go: asyncio.Event | None = None) -> str:
    if go is not None:
        await go.wait()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def race(*attempts: functools.partial[object], delay_seconds: float = 0.0) -> object:
    discarded: list[object] = []
    found = await first_to_succeed(
        attempts,  # type: ignore[arg-type]
        delay_seconds=delay_seconds,
        failures=(OSError,),
        discard=discarded.append,
    )
    assert len(asyncio.all_tasks()) == 1, "an attempt goes on"
    return *found, discarded


async def test_of_two_that_succeed_at_once_one_is_discarded() -> None:
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, go.set)
    racing = [functools.partial(attempt, each, go) for each in ("first", "second")]
    index, outcome, discarded = await race(*racing)  # type: ignore[misc]
    assert {outcome, *discarded} == {"first", "second"}
    assert outcome == ("first", "second")[index]


async def test_a_failure_begins_the_next_at_once_and_the_last_one_is_told() -> None:
    failing = [functools.partial(attempt, OSError(each)) for each in ("a", "b", "c")]
    with pytest.raises(OSError, match="c"):
        await race(*failing, delay_seconds=3600)
    last = functools.partial(attempt, "d")
    assert await race(*failing, last, delay_seconds=3600) == (3, "d", [])


async def test_what_is_no_failure_ends_the_race() -> None:
    waiting = functools.partial(attempt, "never", asyncio.Event())
    with pytest.raises(ZeroDivisionError):
        await race(waiting, functools.partial(attempt, ZeroDivisionError()))
