"""The asyncio client: `emit`, `send`, `flush` and `close` on a running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterable
from itertools import repeat

from logship._buffer.counters import DrainReport, FlushReport
from logship._buffer.inbox import Tag
from logship._client.emitter import Emitter
from logship._client.flush import CHECK_SECONDS, Flush
from logship._client.intake import Record
from logship._client.schedule import last_turns, new_loop
from logship._client.shipper import Shipper
from logship._hooks import registry
from logship._hooks.interruptions import is_from_outside
from logship.errors import BufferFull, ClientClosed


class Client(Emitter):
    """Ships records from the running event loop.

    Args:
        settings: The settings; made from `options` and the environment if none are given.
        transport: How to connect; real sockets by default. See `logship.testing`.
        parts: Other parts of the shipper, for logship's own tests.
        options: Fields of `Settings`; the rest comes from the environment.

    Raises:
        SettingsError: A setting is wrong, or both `settings` and `options` are given.
        UnsupportedRuntime: The call is in a subinterpreter.
    """

    _closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Client:
        """Start shipping."""
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close, draining for as long as acks make progress."""
        await self.close()

    def start(self) -> None:
        """Begin to ship, on the running event loop.

        Without this call, the client begins in the first running loop that logs. In a forked child,
        and where the loop is closed, it goes on in the next running loop that logs (at the latest
        with a full chunk), that calls `start`, or in which a call of the client waits.
        """
        self.shipper.start()

    async def send(
        self, record: Record, tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put a record into the buffer; wait for space without a limit.

        When the call returns, the record is accepted, but not yet delivered.

        Raises:
            ClientClosed: The client takes no more records.
            BufferFull: The buffer is full, and nothing will be sent any more.
        """
        if not self._here[0]:
            self._begin_anew()
        intake = self.intake
        route, body = intake.route(tag), intake.pack(record, time_ns)
        if not intake.is_accepted(intake.put(route, body)):
            await self._send_when_space(route, body)

    async def send_many(
        self, records: Iterable[Record], tag: str | None = None, *, time_ns: int | None = None
    ) -> None:
        """Put records into the buffer, in their order; wait for space without a limit.

        For many records at once this is cheaper than calls of `send`. The event loop can run other
        tasks after each filled chunk. If the call is cancelled, the first records are already in
        the buffer.

        Args:
            records: The records; any mappings. If it is not a sequence, records are taken one at a
                time.
            tag: Their tag; by default the setting `tag`.
            time_ns: Their time in nanoseconds since the epoch; now by default.

        Raises:
            ClientClosed: The client takes no more records. `records_accepted` is the number of
                records, counted from the first, that were accepted.
            BufferFull: The buffer is full, and nothing will be sent any more. It has
                `records_accepted` too.
        """
        if not self._here[0]:
            self._begin_anew()
        if self.settings.disabled:
            return
        for accepted, body in self.intake.put_many(zip(repeat(time_ns), records), tag):
            if body is None:
                await asyncio.sleep(0)
                continue
            try:
                await self._send_when_space(self.intake.route(tag), body)
            except (BufferFull, ClientClosed) as error:
                error.records_accepted = accepted
                raise

    async def flush(self, timeout: float | None = None) -> FlushReport:  # noqa: ASYNC109 - contract
        """Wait until everything accepted so far is acked.

        Args:
            timeout: Seconds to wait at most; None for no limit.
        """
        self.start()
        shipper = self._shipper

        def may_wait() -> bool:
            ends = shipper.broken or shipper.closing.report is not None
            return not ends and shipper is self._shipper  # else this is a forked child

        flush = Flush(shipper.buffer, timeout, may_wait)
        shipper.wake()
        await asyncio.sleep(0)  # the shipper's turn, also where there is no time to wait
        await self._drive(flush.step)
        return flush.report()

    async def close(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the public contract's name
        *,
        reason: str = "close",
    ) -> DrainReport:
        """Take no more records, deliver the rest, and report what happened to every record.

        Args:
            timeout: Seconds until the end, including a spill. With None, the client waits while
                acks make progress, at most `exit_drain_seconds_max`.
            reason: A word for the report.

        Returns:
            The report. Another call returns the same report.
        """
        shipper = self.shipper
        if self.settings.disabled:
            return shipper.closing.skip(reason)
        if shipper.closing.report is None:
            loop, task = asyncio.get_running_loop(), self._closing
            alone = task is None or task.done() or not task.get_loop().is_running()
            if task is not None and (task.done() or task.get_loop() is not loop):
                task = None  # it was interrupted, or another loop drives it
            shipper.closing.join(shipper.plan(timeout), reason, alone=alone)
            shipper.note_progress()  # a call before this one looks at the new plan now
            self.start()
            # Another loop may put a task of its own there meanwhile.
            self._closing = task = task or loop.create_task(self._close(shipper))
            await asyncio.shield(task)
        assert shipper.closing.report is not None
        return shipper.closing.report

    def end_at_exit(self, *, is_child: bool = False) -> None:
        """At the end of the process: deliver, spill or name what it holds.

        Nothing has closed it, or its loop stopped in the middle of that. A record that is logged
        later is refused.
        """
        self._end_by(functools.partial(self._close_at_exit, is_child=is_child))
        self.correct_report()

    def end_at_signal(self, deadline_seconds: float, reason: str) -> None:
        """Before a signal ends the process: spill or name what it holds, and let no call return.

        Nothing can be delivered: the thread of its loop goes no further.
        """
        self.last_resort.stop_others()
        seconds = max(0.0, deadline_seconds - time.monotonic())
        spill = functools.partial(
            self._shipper.spill_rest, alone=True, seconds=seconds, reason=reason
        )
        self._end_by(spill)

    def _end_by(self, end: Callable[[], None]) -> None:
        """Call `end` if it holds records, and take no more in any case."""
        if self._holds_records:
            end()
        elif not self.is_of_this_process:
            self._is_over = True
        elif self._shipper.closing.report is None:
            self._is_over = True  # the end records, which are held now, are no loss
            self._shipper.buffer.close_intake()

    @property
    def _holds_records(self) -> bool:
        """Whether there is anything to do at the end."""
        return self.is_open_here and self._shipper.buffer.bytes_held > 0

    def _close_at_exit(self, *, is_child: bool) -> None:
        """Close on a new loop, since the application's has ended; spill if none can run.

        All others close on it too, so that none has to wait for the end of another one.
        """
        closing = _close_all(is_child=is_child)
        runner = asyncio.Runner(loop_factory=new_loop)
        try:
            runner.run(closing)
        except (RuntimeError, OSError):
            closing.close()  # a loop runs in this thread, or there are no descriptors for one
        finally:
            runner.close()
            if self._shipper.closing.report is None:
                self._shipper.spill_rest(alone=True)

    def _begin_here(self) -> None:
        self._shipper.follows_loops = True

    async def _send_when_space(self, tag: Tag, body: bytes) -> None:
        """Put an entry into the buffer that it had no space for."""
        shipper, intake = self.shipper, self.intake
        while True:
            self.start()
            space: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            take_back = shipper.buffer.when_space(_waker(space))
            try:
                # Once more, because space may have come free before this was arranged.
                if intake.is_accepted(intake.put(tag, body)):
                    return
                if shipper.broken:
                    raise BufferFull("the buffer is full, and shipping has ended: see stderr")
                await asyncio.wait([space], timeout=CHECK_SECONDS)
            finally:
                take_back()

    async def _close(self, shipper: Shipper) -> None:
        try:
            await self._drive(shipper.closing.step)
        except GeneratorExit:  # its loop was closed: the next call, or the exit hook, does the rest
            raise
        except BaseException as error:
            # The loop ends, because callers of `close` cannot cancel this task; or a signal handler
            # ends it.
            if is_from_outside(error):
                shipper.spill_rest(alone=False)
            self._end(shipper)
            raise
        self._end(shipper)
        await last_turns()

    def _end(self, shipper: Shipper) -> None:
        try:
            shipper.shut()
            if shipper.closing.report is None:
                shipper.closing.cut_short()
        finally:
            registry.note_closed(self)

    async def _drive(self, step: Callable[[], float | None]) -> None:
        """Do the steps of a flush or of the end on this loop, and wait for acks in between."""
        while (wait_seconds := step()) is not None:
            self.start()
            shipper = self._shipper  # a forked child may make another one meanwhile
            progress: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            wake = _waker(progress)
            shipper.on_progress(wake)
            try:
                await asyncio.wait([progress], timeout=wait_seconds)
            finally:
                shipper.forget_progress(wake)


async def _close_all(*, is_child: bool) -> None:
    """Close all clients that hold records, at the same time, on this loop."""
    closes = [
        each.close(each.settings.child_drain_seconds if is_child else None, reason="exit")
        for each in registry.clients()
        if isinstance(each, Client) and each._holds_records
    ]
    await asyncio.gather(*closes)


def _waker(awaited: asyncio.Future[None]) -> Callable[[], None]:
    """Return a function that ends the wait for a future, from any thread."""
    loop = awaited.get_loop()

    def settle() -> None:
        if not awaited.done():
            awaited.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the waiter's loop is closed, and the waiter gone
            loop.call_soon_threadsafe(settle)

    return wake
