"""The application under test: an ordinary program that logs through plain `logging`.

It knows nothing of the benchmark beyond its ledger. Started as `python -m benchmarks.application`,
it is wired to one shipper as that shipper's README says and then logs at a steady pace until it is
stopped (a batch: until its time is over). It imports little, so that its start is a program's.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import importlib
import io
import itertools
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ledger import MARKER_CHARS, Ledger, marked

TAG = "benchmark"
WRITERS = 4
"""How many threads or tasks share the work of `--app threads` and `--app asyncio`."""

logger = logging.getLogger("application")


@dataclass(frozen=True)
class Options:
    """What the command line says; the meaning of each is in `parse`."""

    run: str
    app: str
    shipper: str
    host: str
    port: int
    ledger: Path
    rate: float
    line_chars: int
    seconds: float
    tail: int
    lines: Path | None
    on_sigterm: str


def parse(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.application")
    parser.add_argument("--run", required=True, help="8 hexadecimal digits, unique")
    parser.add_argument("--app", choices=sorted(APPS), required=True)
    parser.add_argument("--shipper", choices=sorted(SHIPPERS), required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="lines a second")
    parser.add_argument("--line-chars", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="ends by itself after them")
    parser.add_argument("--tail", type=int, default=0, help="lines to log while it ends")
    parser.add_argument("--lines", type=Path, help="log the lines of this file")
    parser.add_argument("--on-sigterm", choices=("default", "handler", "replaced"), required=True)
    return Options(**vars(parser.parse_args(arguments)))


# --- what is logged ----------------------------------------------------------------------------


class Writer:
    """One source of log lines; notes each in the ledger after `logging` returned."""

    def __init__(self, options: Options, ledger: Ledger, name: str) -> None:
        self._run = options.run
        self._name = name
        self._ledger = ledger
        self._lines = _replayed(options.lines) if options.lines else _made_up(options.line_chars)
        self._number = 0

    def log(self, count: int) -> None:
        """Log the next `count` lines."""
        for line in itertools.islice(self._lines, count):
            self._number += 1
            message, marker = marked(line, self._run, self._name, self._number)
            logger.info(message)
            self._ledger.note(marker)


def _made_up(line_chars: int) -> Iterator[str]:
    filler = "the quick brown fox jumps over the lazy dog; " * (line_chars // 45 + 1)
    for number in itertools.count(1):
        yield f"GET /orders/{number} 200 {filler}"[: max(1, line_chars - MARKER_CHARS - 1)]


def _replayed(path: Path) -> Iterator[str]:
    while True:
        with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as lines:
            yield from (line.removesuffix("\n") for line in lines)


class Pace:
    """Says how many lines are due at a moment, from absolute deadlines: a delay is caught up."""

    TICK_SECONDS_MIN = 0.005
    """Sleeping for each of 30,000 lines a second would cost more than logging them."""

    def __init__(self, rate: float, started: float) -> None:
        self._rate = rate
        self._started = started
        self._tick_seconds = max(1 / rate, self.TICK_SECONDS_MIN)
        self._given = 0

    def due(self, now: float) -> int:
        """Return the number of lines that are due and were not returned before."""
        due = int((now - self._started) * self._rate) + 1 - self._given
        self._given += due
        return due

    def wait_seconds(self, now: float) -> float:
        """Return how long to sleep until the next tick."""
        ticks = int((now - self._started) / self._tick_seconds) + 1
        return max(0.0, self._started + ticks * self._tick_seconds - now)


# --- the kinds of application ------------------------------------------------------------------


def run_script(options: Options, ledger: Ledger) -> None:
    """Log in the main thread; the tail in `finally`, as a script that tidies up."""
    try:
        _log_paced(options, Writer(options, ledger, "m00"), options.rate, threading.Event())
    finally:
        Writer(options, ledger, "t00").log(options.tail)


def run_threads(options: Options, ledger: Ledger) -> None:
    """Log in worker threads; when the main thread is stopped, each logs its share of the tail."""
    stopping = threading.Event()

    def work(index: int) -> None:
        _log_paced(options, Writer(options, ledger, f"m{index:02}"), _share(options), stopping)
        Writer(options, ledger, f"t{index:02}").log(_tail_of(options.tail, index))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        # Not join(): interrupted by an exception, CPython 3.11's takes the thread for ended.
        stopping.wait(options.seconds)
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def run_asyncio(options: Options, ledger: Ledger) -> None:
    """Log in tasks of an event loop; the tail when the service is shut down."""
    asyncio.run(_serve(options, ledger))


def _log_paced(options: Options, writer: Writer, rate: float, stopping: threading.Event) -> None:
    started = time.monotonic()
    pace = Pace(rate, started)
    while not stopping.is_set() and (now := time.monotonic()) < started + options.seconds:
        writer.log(pace.due(now))
        time.sleep(pace.wait_seconds(time.monotonic()))


async def _serve(options: Options, ledger: Ledger) -> None:
    service = asyncio.current_task()
    assert service is not None
    if options.on_sigterm == "replaced":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, service.cancel)
    try:
        async with asyncio.TaskGroup() as group:
            for index in range(WRITERS):
                writer = Writer(options, ledger, f"m{index:02}")
                group.create_task(_log_paced_async(options, writer))
    except asyncio.CancelledError:
        if options.on_sigterm != "replaced":
            raise
    finally:
        Writer(options, ledger, "t00").log(options.tail)


async def _log_paced_async(options: Options, writer: Writer) -> None:
    started = time.monotonic()
    pace = Pace(_share(options), started)
    while (now := time.monotonic()) < started + options.seconds:
        writer.log(pace.due(now))
        await asyncio.sleep(pace.wait_seconds(time.monotonic()))


def _share(options: Options) -> float:
    return options.rate / WRITERS


def _tail_of(tail: int, index: int) -> int:
    return tail // WRITERS + (index < tail % WRITERS)


APPS: dict[str, Callable[[Options, Ledger], None]] = {
    "script": run_script,
    "asyncio": run_asyncio,
    "threads": run_threads,
    "batch": run_script,  # the same program, but it ends by itself after its `--seconds`
}


# --- the shippers, each wired as its README says -----------------------------------------------


def install_logship(host: str, port: int) -> None:
    """One line; endpoint and stop timeout come from the environment, as in a container."""
    del host, port
    import logship  # noqa: PLC0415 - the peers' runs must not pay for it

    logship.install(level=logging.INFO)


def install_fluent_logger(host: str, port: int) -> None:
    """fluent-logger's `FluentHandler`: it sends in the thread that logs."""
    _install_fluent_handler(host, port, importlib.import_module("fluent.handler"))


def install_fluent_logger_async(host: str, port: int) -> None:
    """fluent-logger's asynchronous `FluentHandler`: a queue of 100 and a thread."""
    _install_fluent_handler(host, port, importlib.import_module("fluent.asynchandler"))


def _install_fluent_handler(host: str, port: int, module: Any) -> None:
    """Wire a `FluentHandler` to the root logger, giving it everything its README offers.

    Fair means: the README's formatter and handler; its overflow handler, which turns what the
    sender gives up into output (counted as spilled, not as lost); and `close()` at the end, which
    the README asks for. So that `close()` can run at all, the application also handles SIGTERM
    (`--on-sigterm handler` is the default for peers): Python's default would skip atexit.
    """
    from fluent.handler import FluentRecordFormatter  # noqa: PLC0415 - only where it is tested

    handler = module.FluentHandler(
        TAG, host=host, port=port, buffer_overflow_handler=_print_overflow
    )
    handler.setFormatter(
        FluentRecordFormatter(
            {"host": "%(hostname)s", "where": "%(module)s.%(funcName)s", "type": "%(levelname)s"}
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    atexit.register(handler.close)


def _print_overflow(pendings: bytes) -> None:
    """The README's example, with JSON in the place of `print`, so that a program can read it."""
    import msgpack  # noqa: PLC0415 - as above

    for tag, seconds, record in msgpack.Unpacker(io.BytesIO(pendings)):
        line = {"fluent-logger": "overflow", "tag": tag, "time": seconds, "record": record}
        sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()


SHIPPERS: dict[str, Callable[[str, int], None]] = {
    "logship": install_logship,
    "logship-spool": install_logship,  # the same program; LOGSHIP_SPOOL_DIR is set
    "fluent-logger": install_fluent_logger,
    "fluent-logger-async": install_fluent_logger_async,
}


# --- the program -------------------------------------------------------------------------------


def _exit_gracefully(signal_number: int, frame: Any) -> None:
    del signal_number, frame
    sys.exit(0)


def main(arguments: list[str]) -> None:
    """Install the shipper and do the work."""
    options = parse(arguments)
    if options.on_sigterm == "handler":
        signal.signal(signal.SIGTERM, _exit_gracefully)
    SHIPPERS[options.shipper](options.host, options.port)
    if options.on_sigterm == "replaced":
        signal.signal(signal.SIGTERM, _exit_gracefully)  # asyncio's own replaces it again
    APPS[options.app](options, Ledger(options.ledger))


if __name__ == "__main__":
    main(sys.argv[1:])
