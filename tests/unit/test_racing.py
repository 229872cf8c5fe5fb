"""Attempts that run beside each other: one outcome, and nothing left of the others."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable

import pytest

from logship._delivery.racing import first_to_succeed


async def attempt(outcome: str | Exception, go: asyncio.Event | None = None) -> str:
    if go is not None:
        await go.wait()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def race(
    *attempts: Callable[[], Awaitable[str]], delay_seconds: float = 0.0
) -> tuple[int, str, list[str]]:
    discarded: list[str] = []
    index, outcome = await first_to_succeed(
        attempts, delay_seconds=delay_seconds, failures=(OSError,), discard=discarded.append
    )
    assert len(asyncio.all_tasks()) == 1, "an attempt goes on"
    return index, outcome, discarded


async def test_of_two_that_succeed_at_once_one_is_discarded() -> None:
    go = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, go.set)
    racing = [functools.partial(attempt, each, go) for each in ("first", "second")]
    index, outcome, discarded = await race(*racing)
    assert {outcome, *discarded} == {"first", "second"}
    assert outcome == ("first", "second")[index]


async def test_a_failure_begins_the_next_at_once_and_all_are_told() -> None:
    failing = [functools.partial(attempt, OSError(each)) for each in ("a", "b", "c")]
    with pytest.raises(ExceptionGroup) as caught:
        await race(*failing, delay_seconds=3600)
    assert [str(each) for each in caught.value.exceptions] == ["a", "b", "c"]
    last = functools.partial(attempt, "d")
    assert await race(*failing, last, delay_seconds=3600) == (3, "d", [])


async def test_what_is_no_failure_ends_the_race() -> None:
    waiting = functools.partial(attempt, "never", asyncio.Event())
    with pytest.raises(ZeroDivisionError):
        await race(waiting, functools.partial(attempt, ZeroDivisionError()))


async def test_no_connection_is_left_open_if_the_race_is_cancelled_behind_it() -> None:
    """One has succeeded, and the other one takes its time to end."""
    discarded: list[str] = []
    ends, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        try:
            return await attempt("never", asyncio.Event())
        finally:
            ends.set()
            await may_end.wait()

    racing = first_to_succeed(
        [slow, functools.partial(attempt, "won")],
        delay_seconds=0.0,
        failures=(OSError,),
        discard=discarded.append,
    )
    running = asyncio.ensure_future(racing)
    async with asyncio.timeout(20):
        await ends.wait()
        running.cancel()
        asyncio.get_running_loop().call_soon(may_end.set)
        await asyncio.wait([running])
    assert running.cancelled()
    assert discarded == ["won"]


async def test_a_failure_of_one_leaves_the_other() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, first.set)
    loop.call_later(0.1, second.set)
    racing = functools.partial(attempt, OSError(), first), functools.partial(attempt, "b", second)
    assert await race(*racing) == (1, "b", [])
