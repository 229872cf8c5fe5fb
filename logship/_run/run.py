"""One command, from its start to its exit code: the main loop of `logship run`.

One thread does all work that must not wait, in turns: it passes signals on, reaps children, reads
pipes, and puts records into the buffer. Shipping has a separate thread, and so has the recovery of
clients' records. After the command's end the loop continues until these two finish, because PID 1
must reap orphans and obey signals until the very end.
"""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from logship._buffer.counters import DrainReport
from logship._hooks.threads import OwnThread
from logship._process import stopfile
from logship._process.clock import Started, StopClock
from logship._run.clients import environment_for, settings_with_pages
from logship._run.command import CannotStart, Command
from logship._run.deadlines import Deadlines
from logship._run.multiline import LineJoiner
from logship._run.offspring import Offspring
from logship._run.patterns import BoundedPattern
from logship._run.pipe_reader import READ_BYTES, Arrivals, PipeReader
from logship._run.private_directory import private_directory
from logship._run.processes import become_subreaper, children, descendants, kill_all, reap
from logship._run.receipt import Outcome, Receipt
from logship._run.shipping import Shipping
from logship._run.signals import Noted, Signals
from logship._run.statuses import Death
from logship._run.tee import Tee
from logship._settings import Settings
from logship._settings.unknown import unknown_variables
from logship._signal_names import signal_name
from logship._spelling import many

_TURN_SECONDS_MAX = 1.0
_AFTER_ERROR_SECONDS = 0.05
_AFTER_KILL_SECONDS = 2.0
_AFTER_KILL_SHARE = 0.25
_READING_SECONDS_MAX = 0.1
_READS_OF_THE_REST_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one `run`, beside the settings of the client.

    Attributes:
        tee: Whether the command's output is passed on as well.
        whole_group: Whether signals go to its whole process group.
        orphan_seconds: How long `run` waits, after its end, for processes that it left behind.
        multiline_start: How a record of several lines begins; None if each line is a record.
        loss_exit: The exit code if a record was not acked and the command's exit code was 0.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    tee: bool
    whole_group: bool
    orphan_seconds: float
    multiline_start: str | None
    receipt: Receipt | None
    loss_exit: int | None


class Supervisor:
    """Runs one command. `signals` are installed already, so that none is missed."""

    def __init__(self, settings: Settings, options: Options, signals: Signals) -> None:
        directory, why_none = private_directory(settings.endpoints)
        self._settings = settings = settings_with_pages(settings, directory)
        self._options = options
        self._signals = signals
        # A `run` inside the command of another `run` has less time than its settings say.
        self._clock = StopClock(settings.stop_timeout_seconds, stopfile.reader(os.environ))
        self._deadlines: Deadlines | None = None
        push_back_seconds = settings.block_seconds_max if settings.overflow == "block" else 0.0
        self._shipping = Shipping(settings, self._clock, signals.wake, push_back_seconds)
        if directory is None:
            self._shipping.say(why_none)
        if text := unknown_variables(options.environ):
            self._shipping.say(text)
        self._offspring = Offspring(settings, self._clock, self._shipping, signals.wake, directory)
        self._environ = environment_for(options.environ, directory, settings)
        # A shell that became `run` may have started a sidecar, which takes records to the end.
        self._others = set(children(os.getpid()))
        self._command: Command | None = None
        self._death: Death | None = None
        self._ended_seconds = 0.0
        self._is_refused = False
        self._is_cut_off = False
        self._report: DrainReport | None = None
        self._readers: list[PipeReader] = []
        self._arrivals = Arrivals()

    def run(self) -> int:
        """Run the command; return the exit code of `run`."""
        started = time.monotonic()
        become_subreaper()
        try:
            self._command = Command(self._options.command, self._environ)
        except CannotStart as error:
            kill_all(self._others)  # Python may have started it, and failed to read the result
            self._shipping.say(str(error))
            return self._end(error.exit_code, started)
        self._readers = self._open_readers(self._command)
        self._arrivals.watch(self._readers)
        self._shipping.announcement.tell()
        while not self._output_is_over():
            self._turn()
        self._command.leave_terminal()
        self._go_on_after_errors(self._cut_off)
        while any(each.lines or each.tee_waits for each in self._readers):
            self._turn()
        death = self._death or Death(self._command.pid, self._command.name, -signal.SIGKILL)
        return self._end(death.exit_code, started)

    # -- one turn ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for an event, and handle all events. After an error the next turn continues."""
        self._go_on_after_errors(lambda: self._handle(self._wait()))

    def _go_on_after_errors(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the command's output must be read in any case
            self._is_cut_off = True  # what was just read may be lost
            self._shipping.client.last_resort.warn_of_bug("run", error)
            time.sleep(_AFTER_ERROR_SECONDS)

    def _handle(self, ready: set[int]) -> None:
        """Handle all events; first those that a later turn would not see again."""
        for noted in self._signals.noted():
            self._obey(noted)
        if self._command is not None and self._death is None:
            self._command.stop_with_it()
        reaped = list(reap())
        self._others.difference_update(each.pid for each in reaped)
        now = time.monotonic()
        for death in reaped:  # after the command's death an orphan may get its number
            if self._death is None and self._command and death.pid == self._command.pid:
                self._death, self._ended_seconds = death, now
        self._kill_if_due(now)
        self._read([each for each in self._readers if each.descriptor in ready], now)
        for reader in self._readers:
            self._see_to(reader, now)
        self._offspring.see_to(ready, reaped)
        self._shipping.announcement.tell()

    def _read(self, readers: list[PipeReader], now: float) -> None:
        """Read these pipes by turns, while they have more than one read takes, for a moment."""
        self._arrivals.sort(readers)
        while readers and time.monotonic() < now + _READING_SECONDS_MAX:
            readers = [each for each in readers if self._has_more(each, now)]

    def _has_more(self, reader: PipeReader, now: float) -> bool:
        """Read once, put the records into the buffer; return whether the pipe may have more."""
        if not reader.wants_bytes:
            return False
        read_bytes = reader.read(now)
        self._shipping.ship(reader)
        return read_bytes == READ_BYTES

    def _see_to(self, reader: PipeReader, now: float) -> None:
        """Pass on the pipe's bytes and records as far as possible now."""
        if reader.tee is not None and reader.tee.waits:
            reader.tee.push()
            if reader.tee.waits and now >= self._patience_ends_seconds():
                unpassed = many(reader.tee.give_up(), "byte")
                self._shipping.say(f"{reader.source} takes no more; {unpassed} not passed on")
        reader.flush_due(now)
        self._shipping.ship(reader)

    def _wait(self) -> set[int]:
        """Wait for a signal, bytes, space or a time; return the descriptors that are ready."""
        poll = select.poll()
        poll.register(self._signals.descriptor, select.POLLIN)
        for reader in self._readers:
            if reader.wants_bytes:
                poll.register(reader.descriptor, select.POLLIN)
            if reader.tee is not None and reader.tee.waits:
                poll.register(reader.tee.descriptor, select.POLLOUT)
        for descriptor in self._offspring.descriptors:
            poll.register(descriptor, select.POLLIN)
        milliseconds = self._wait_seconds() * 1000
        return {descriptor for descriptor, _ in poll.poll(milliseconds)}

    def _wait_seconds(self) -> float:
        now = time.monotonic()
        due = [self._offspring.due_seconds, self._patience_ends_seconds()]
        due += [each.due_seconds() for each in self._readers]
        if self._deadlines is not None and self._death is None:
            due.append(self._deadlines.kill_seconds)
        waits = [_TURN_SECONDS_MAX, self._shipping.retry_seconds(), *(each - now for each in due)]
        # What has ended stays readable, and must not make this loop spin.
        return min(wait for wait in waits if wait > 0) + 0.001

    # -- signals and processes ---------------------------------------------------------------------

    def _obey(self, noted: Noted) -> None:
        """Start the clock at a stop signal, and pass every signal on."""
        command = self._command if self._death is None else None
        pid = None if command is None else command.pid
        if self._clock.started is None and self._signals.is_stop(noted.signum, self._settings, pid):
            self._start_clock(noted)
        if command is not None:
            if noted.signum == signal.SIGCONT:
                command.take_terminal()
            signum = self._signals.translated(noted.signum)
            self._send(command, signum, whole_group=self._options.whole_group)

    def _send(self, command: Command, signum: int, *, whole_group: bool) -> None:
        """Send the command a signal; say it once if that is refused."""
        try:
            command.signal(signum, whole_group=whole_group)
        except PermissionError as error:
            if not self._is_refused:
                self._shipping.say(
                    f"cannot send {signal_name(signum)} to {command.name} (process {command.pid}): "
                    f"{error.strerror}; another user's program takes CAP_KILL"
                )
            self._is_refused = True

    def _start_clock(self, noted: Noted) -> None:
        self._clock.start(Started(noted.at_seconds, signal_name(noted.signum)))
        end = self._clock.deadline_seconds
        assert end is not None
        spill_seconds = end - self._shipping.intake_ends_seconds()
        self._deadlines = Deadlines.share_out(noted.at_seconds, end, spill_seconds)
        self._shipping.client.shipper.stop_lingering()
        self._offspring.announce_stop(self._deadlines.clients_seconds)

    def _kill_if_due(self, now: float) -> None:
        """Kill a command that has used up its part of the stop timeout."""
        command, deadlines, started = self._command, self._deadlines, self._clock.started
        if command is None or deadlines is None or started is None or self._death is not None:
            return
        if now < deadlines.kill_seconds or self._offspring.is_being_killed:
            return
        waited = deadlines.kill_seconds - started.at_seconds
        self._shipping.say(
            f"{command.name} (process {command.pid}) has not ended {waited:.1f} s after "
            f"{started.reason}; it is killed, so that what it wrote can still be shipped"
        )
        self._offspring.is_being_killed = True
        self._send(command, signal.SIGKILL, whole_group=True)

    # -- the end of the output ---------------------------------------------------------------------

    def _output_is_over(self) -> bool:
        """Return whether no process writes any more, or `run` waits for none any longer."""
        if time.monotonic() >= self._patience_ends_seconds():
            return True
        return self._death is not None and not (self._offspring.descriptors or self._is_held)

    def _patience_ends_seconds(self) -> float:
        """Return until when `run` waits for the command, and then for what it left behind."""
        if self._death is None:  # no kill may end it: another user's, or one in the kernel
            killed = math.inf if self._deadlines is None else self._deadlines.kill_seconds
            return killed + self._after_kill_seconds()
        end = self._ended_seconds + self._options.orphan_seconds
        if self._deadlines is None:
            return end
        return max(self._ended_seconds, min(end, self._deadlines.kill_seconds))

    def _cut_off(self) -> None:
        """End the output: the time of a process that still holds it is over.

        As PID 1, and after a stop signal, all processes below `run` are about to be killed in any
        case. If `run` kills them, their output and spools can still be shipped. Otherwise such a
        process may be a daemon that is meant to stay.
        """
        if os.getpid() == 1 or self._deadlines is not None:
            if self._death is not None and self._is_held and self._has_left_any:
                self._shipping.say(
                    "processes that the command left behind still hold its output; they "
                    "are killed, so that what they wrote can still be shipped"
                )
            self._offspring.is_being_killed = True
            kill_all(self._others)
            self._await_the_killed()
        if held := [each.source for each in self._readers if not self._take_the_rest(each)]:
            self._is_cut_off = True
            wait = ""
            if self._death is None:
                why = "the command still holds its"
            elif self._has_left_any:
                why = "processes that the command left behind still hold its"
                wait = " (--orphan-wait sets the wait)"
            else:
                why = "there is no time to read all of its"
            self._shipping.say(
                f"{why} {' and '.join(held)}; what comes from now on is not shipped{wait}"
            )

    def _await_the_killed(self) -> None:
        """Wait, within bounds, until all are dead: a dying process still locks its spool."""
        until = time.monotonic() + self._after_kill_seconds()
        while time.monotonic() < until and self._has_left_any:
            self._turn()

    @property
    def _has_left_any(self) -> bool:
        """Whether any process lives that the command or its children started."""
        return any(descendants(os.getpid(), self._others))

    @property
    def _is_held(self) -> bool:
        """Whether a process may still write to the output, as far as it was read."""
        return not all(each.has_ended for each in self._readers)

    def _after_kill_seconds(self) -> float:
        """Return how long killed processes may take to die."""
        if self._deadlines is None:
            return _AFTER_KILL_SECONDS
        ours = self._deadlines.end_seconds - self._deadlines.kill_seconds
        return min(_AFTER_KILL_SECONDS, ours * _AFTER_KILL_SHARE)

    def _take_the_rest(self, reader: PipeReader) -> bool:
        """Read the rest of the pipe, and close it; return whether all writers had closed it."""
        now = time.monotonic()
        for _ in range(_READS_OF_THE_REST_MAX):
            while reader.lines or reader.tee_waits:
                self._turn()
            if reader.has_ended or self._is_late or not reader.read(now):
                break
            self._shipping.ship(reader)  # a turn would wait before
        has_ended = reader.has_ended
        reader.end()
        return has_ended

    @property
    def _is_late(self) -> bool:
        """Whether half of the time is over in which records that find no space are written."""
        if self._deadlines is None:
            return False
        intake_ends_seconds = self._shipping.intake_ends_seconds()
        return time.monotonic() >= (intake_ends_seconds + self._deadlines.end_seconds) / 2

    # -- the end -----------------------------------------------------------------------------------

    def _end(self, exit_code: int, started: float) -> int:
        """Deliver all records, write the receipt, clean up; return the exit code of `run`."""
        command_seconds = time.monotonic() - started
        thread = self._drain_aside()
        self._offspring.finish(self._shipping.plan())
        had_clock = self._deadlines is not None
        while (self._report is None and thread.is_alive()) or not self._offspring.is_over:
            self._turn()
            if self._deadlines is not None and not had_clock:
                had_clock = True
                self._drain_aside()
        outcome = Outcome(
            command=self._options.command,
            exit_code=exit_code,
            seconds=command_seconds,
            report=self._drain(),
            recovery=self._offspring.report,
            is_cut_off=self._is_cut_off,
        )
        recovery = outcome.recovery
        if recovery is not None and (self._settings.report or not recovery.complete):
            self._shipping.client.last_resort.write_in_turn(f"{recovery.to_json()}\n".encode())
        self._write_receipt(outcome)
        self._offspring.remove_directories()
        is_loss = exit_code == 0 and not outcome.is_complete
        return self._options.loss_exit if is_loss and self._options.loss_exit else exit_code

    def _drain_aside(self) -> OwnThread:
        """Deliver the buffer on a separate thread, so that the main loop continues.

        After the clock's start a second thread does the same, and may make it end sooner.
        """
        thread = OwnThread(self._drain, "drain")
        try:
            thread.start()
        except RuntimeError:  # there is no thread to be had: signals have to wait
            self._drain()
        return thread

    def _drain(self) -> DrainReport:
        """Deliver the buffer, or return the report of what has done so."""
        self._report = self._shipping.drain("end of output")
        self._signals.wake()
        return self._report

    def _write_receipt(self, outcome: Outcome) -> None:
        if self._options.receipt is None:
            return
        try:
            self._options.receipt.write(outcome)
        except OSError as error:
            self._shipping.say(
                f"cannot write the receipt {self._options.receipt.path}: {error.strerror}"
            )

    def _open_readers(self, command: Command) -> list[PipeReader]:
        descriptors = {"stdout": (command.stdout, 1), "stderr": (command.stderr, 2)}
        text = self._options.multiline_start
        start = None if text is None else BoundedPattern(text, self._shipping.say)
        return [
            PipeReader(
                descriptor,
                source,
                message_key=self._settings.message_key,
                joiner=None if start is None else LineJoiner(start.search),
                tee=Tee(own) if self._options.tee else None,
            )
            for source, (descriptor, own) in descriptors.items()
        ]
