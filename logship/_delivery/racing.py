"""Attempts that run beside each other until one of them succeeds (RFC 8305, happy eyeballs)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def first_to_succeed(
    attempts: Sequence[Callable[[], Awaitable[T]]],
    *,
    delay_seconds: float,
    failures: tuple[type[Exception], ...],
    discard: Callable[[T], None],
) -> tuple[int, T]:
    """Return the index and the outcome of the first attempt that succeeds; end all others.

    The next attempt begins when one fails, or `delay_seconds` after the last one began. Each
    outcome is returned or discarded, also where this call is cancelled.

    Args:
        attempts: In the order in which they are made; at least one.
        delay_seconds: Between them.
        failures: What an attempt may raise so that the others go on.
        discard: Takes the outcome of an attempt that succeeds together with the first.

    Raises:
        ExceptionGroup: All have failed; it has their failures, in the order in which they came.
    """
    waiting = list(enumerate(attempts))
    running: dict[asyncio.Future[T], int] = {}
    failed: list[Exception] = []
    try:
        while waiting or running:
            if waiting:
                index, attempt = waiting.pop(0)
                running[asyncio.ensure_future(attempt())] = index
            timeout_seconds = delay_seconds if waiting else None
            done, _ = await asyncio.wait(
                running, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                try:
                    outcome = each.result()
                except failures as error:
                    failed.append(error)
                    del running[each]
                else:
                    await _end([other for other in running if other is not each], discard)
                    return running[each], outcome
        raise ExceptionGroup("all attempts have failed", failed)
    except GeneratorExit:  # the loop was closed, and nothing can be awaited any more
        raise
    except BaseException:
        await _end(running, discard)
        raise


async def _end(attempts: Iterable[asyncio.Future[T]], discard: Callable[[T], None]) -> None:
    for each in attempts:
        each.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            discard(outcome)
