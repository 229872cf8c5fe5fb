"""The sidecar of a run: a server process that can be started, killed, slowed and read afterwards.

`benchmarks.servers` says which one.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.processes import command_line

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
SETTLE_SECONDS_MAX = 120

Address = tuple[str, int]


class Sidecar:
    """A forward server at one address, in a process group of its own where it is ours.

    Args:
        address: Where it listens; port 0: a free one, known after `start`.
        outputs: Glob patterns of its output files.
        log: Takes the process's stdout and stderr.
        command: How to start it; None: it runs already and is not ours to touch.
        quiet_seconds: Outputs that did not grow for so long will not grow any more.
        holds_back: It acks what lies in a buffer of its own, so a dead one is started once more
            before its output is read.
    """

    def __init__(
        self,
        address: Address,
        outputs: Sequence[str],
        log: Path,
        command: list[str] | None = None,
        *,
        quiet_seconds: float = 1.0,
        holds_back: bool = False,
    ) -> None:
        self.address = address
        self._outputs = outputs
        self._command = command
        self._log = log
        self._quiet_seconds = quiet_seconds
        self._holds_back = holds_back
        self._process: subprocess.Popen[bytes] | None = None
        self._throttle: Throttle | None = None

    # --- its life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it where it is ours, and wait until it listens.

        Raises:
            BenchmarkError: It does not listen after `START_SECONDS_MAX`, or its port is taken.
        """
        if self._command is not None and _accepts(self.address):
            raise BenchmarkError(f"another program listens on {self._place()}")
        self.launch()
        self._wait_until(self._listens)

    def launch(self) -> None:
        """Start it where it is ours, without waiting."""
        if self._command is None:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Fluentd has workers: signals go to all of them
            )

    def kill(self) -> None:
        """SIGKILL it, with all its workers."""
        self._signal_group(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM to the process that was started, as an orchestrator does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def throttle(self) -> None:
        """Let it run a quarter of the time, as on a 0.25 vCPU task."""
        self._throttle = Throttle(self.group, self._signal_group)

    def pause(self) -> None:
        """Pause it (SIGSTOP): its connections stay, and it does not read."""
        self._signal_group(signal.SIGSTOP)

    @property
    def group(self) -> int:
        """Its process group.

        Raises:
            BenchmarkError: It was not started here.
        """
        if self._process is None:
            raise BenchmarkError("this fault needs --server-command: how the sidecar is started")
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used, all its processes together; only where it is ours.

        A Fluent Bit or a Fluentd that flushes later has not used the time for that yet.
        """
        return sum(cpu_seconds_of(member) for member in _members(self.group))

    def revive(self) -> None:
        """See to it that it runs, at full speed, at the address where it was.

        Raises:
            BenchmarkError: It does not listen after `START_SECONDS_MAX`.
        """
        self._unthrottle()
        if self._command is None or self._is_coming():
            return
        self.launch()
        self._wait_until(lambda: _accepts(self.address))

    def settle(self, *, senders_are_gone: bool = False) -> None:
        """Let it read and write out what it holds, then stop it.

        Args:
            senders_are_gone: Every sender has ended after its last ack, so that one which writes
                before it acks has written all.

        Raises:
            BenchmarkError: It writes for too long.
        """
        self._unthrottle()
        if self._holds_back and self._process is not None and self._process.poll() is not None:
            self.start()
        if self._holds_back or not senders_are_gone:
            wait_until_quiet(self._bytes_written, self._quiet_seconds, SETTLE_SECONDS_MAX)
        self._stop()

    def close(self) -> None:
        """End it if it still runs."""
        self._unthrottle()
        if self._process is not None:
            self.kill()

    # --- what it wrote ----------------------------------------------------------------------

    def outputs(self) -> list[Path]:
        """Return its output files of this moment, in the order of their names."""
        found = {path for pattern in self._outputs for path in glob.glob(pattern, recursive=True)}  # noqa: PTH207 - absolute patterns; Path.glob takes none
        return sorted(Path(path) for path in found if Path(path).is_file())

    def _bytes_written(self) -> int:
        return sum(path.stat().st_size for path in self.outputs())

    # --- the process ------------------------------------------------------------------------

    def _wait_until(self, listens: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not listens():
            if time.monotonic() > deadline or not self._is_coming():
                raise BenchmarkError(f"no sidecar listens on {self._place()}: {self._complaint()}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        return _accepts(self.address)

    def _place(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"

    def _is_coming(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _complaint(self) -> str:
        if not self._log.exists():
            return "start it first, or say how with --server-command"
        return self._log.read_text(errors="replace")[-500:].strip() or "it says nothing"

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, number)

    def _stop(self) -> None:
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def _unthrottle(self) -> None:
        if self._throttle is not None:
            self._throttle.stop()
            self._throttle = None


class Embedded(Sidecar):
    """`logship receive` on a free loopback port; a restart takes the same port.

    Args:
        directory: The run's own.
        output: Where it writes; None: nowhere, it only counts what it acknowledges.
    """

    def __init__(self, directory: Path, output: Path | None) -> None:
        self._writing = ["--count"] if output is None else ["--out", str(output)]
        outputs = [] if output is None else [str(output)]
        super().__init__(("127.0.0.1", 0), outputs, directory / "sidecar.stderr")
        self._command = self._command_line()

    def start(self) -> None:
        """Start it and learn its port."""
        super().start()
        self._command = self._command_line()

    def _command_line(self) -> list[str]:
        return command_line("logship", "receive", "--bind", self._place(), *self._writing)

    def _listens(self) -> bool:
        ready = re.search(r"listening on tcp://([\d.]+):(\d+)", self._log.read_text())
        if ready:
            self.address = (ready[1], int(ready[2]))
        return ready is not None


class Throttle:
    """Gives a process group a share of one CPU, as a cgroup's quota would; needs no rights.

    CPU time is counted, not time on the clock: on a busy machine a process that is stopped three
    quarters of the time would get far less than a quarter.

    Args:
        group: The process group's leader.
        send: Sends a signal to the whole group.
    """

    SHARE = 0.25
    PERIOD_SECONDS = 0.1
    """As a cgroup: a quarter of this may be used at once, then the group waits."""
    LOOK_SECONDS = 0.005

    def __init__(self, group: int, send: Callable[[int], None]) -> None:
        self._members = _members(group)
        self._send = send
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        quota = left = self.SHARE * self.PERIOD_SECONDS
        seen, used, running = time.monotonic(), self._cpu_seconds(), True
        while not self._over.wait(self.LOOK_SECONDS):
            now, used_now = time.monotonic(), self._cpu_seconds()
            left = min(quota, left + self.SHARE * (now - seen)) - (used_now - used)
            seen, used = now, used_now
            if running and left <= 0:
                self._send(signal.SIGSTOP)
                running = False
            elif not running and left >= quota:
                self._send(signal.SIGCONT)
                running = True
        self._send(signal.SIGCONT)

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds_of(member) for member in self._members)

    def stop(self) -> None:
        """Let the group run freely again."""
        self._over.set()
        self._thread.join()


def _members(group: int) -> list[int]:
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _group_of(number) == group]


def _group_of(process: int) -> int | None:
    try:
        return os.getpgid(process)
    except ProcessLookupError:
        return None


def cpu_seconds_of(process: int) -> float:
    """Return the CPU time of a process and its threads; 0 when it is gone."""
    clock = ~process << 3 | 2  # what clock_getcpuclockid(3) returns on Linux
    try:
        return time.clock_gettime(clock)
    except OSError:
        return 0.0


def wait_until_quiet(
    state: Callable[[], object],
    quiet_seconds: float,
    seconds_max: float,
    look_seconds: float = 0.05,
) -> None:
    """Wait until a state has not changed for so long.

    Raises:
        BenchmarkError: It still changes after `seconds_max`: what is missing may still come.
    """
    begun = since = time.monotonic()
    seen = state()
    while (now := time.monotonic()) < since + quiet_seconds:
        if now > begun + seconds_max:
            raise BenchmarkError(f"the sidecar still writes after {seconds_max:g} s")
        time.sleep(look_seconds)
        if (found := state()) != seen:
            seen, since = found, now


@contextlib.contextmanager
def running(sidecar: Sidecar) -> Iterator[Sidecar]:
    """Start a sidecar, give it, and end it."""
    try:
        sidecar.start()
        yield sidecar
    finally:
        sidecar.close()


def free_port() -> int:
    """Return a port that is free now; real servers cannot say which one they took for port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _accepts(address: Address) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True
