"""What every test shares: nothing of the developer's own environment reaches logship.

A shell ignores SIGINT and SIGQUIT for what it runs in the background, and nohup SIGHUP; every
process that a test starts would inherit that.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.support.servers import ReservedPort
from tests.support.waiting import wait_until

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


ANY_PYTHON = frozenset(
    {
        *("aggregators", "alerts", "audit", "benchmarks", "chaos", "cli", "contract", "doctor"),
        *("documentation", "faults", "fuzz", "golden", "interleavings", "interop", "lint"),
        *("metrics", "packaging", "plan", "receiver", "reconnects", "run", "sidecar"),
        *("simulation", "soak", "standalone", "stops", "testkit", "top", "typing"),
        *(f"examples/test_{each}.py" for each in ("fields", "tested_application", "uwsgi")),
        *(f"protocol/test_{each}.py" for each in ("hostile", "metadata", "payloads")),
        *(
            f"process/test_{each}.py"
            for each in (
                *("bad_input", "ecs", "firelens_tag", "gone_stderr", "levels", "namesake"),
                *("other_systems", "own_errors", "refused", "spill"),
            )
        ),
        *(
            f"spool/test_{each}.py"
            for each in (
                *("awaited_tag", "crafted", "damage", "damaged_orphans", "directories"),
                *("full_volume", "honest_recovery", "last_words", "long_runs", "orphans"),
                *("quarantine", "sigkill", "trouble"),
            )
        ),
        *(
            f"unit/test_{each}.py"
            for each in (
                *("ack_rate", "architecture", "buffer_kept", "buffer_model", "delivery", "drain"),
                *("ecs", "floods", "long_outages", "long_overload", "quoting", "redaction"),
                *("redaction_fields", "requirements", "secrets", "settings"),
                *("settings_endpoints", "settings_surroundings"),
            )
        ),
    }
)
"""Rooms and files of tests whose results do not depend on the interpreter that runs them."""

_ROOT = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what `-m "not any_python"` leaves out; each worker would take seconds."""
    is_left_out = "not any_python" in config.option.markexpr and _is_any_python(collection_path)
    return True if is_left_out else None


def pytest_collection(session: pytest.Session) -> None:
    """Collect the tests without the garbage collector, which would look at all of them often."""
    del session
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of these rooms."""
    for item in items:
        if _is_any_python(item.path):
            item.add_marker(pytest.mark.any_python)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to collect garbage."""
    del session
    gc.enable()


def _is_any_python(path: Path) -> bool:
    if not path.is_relative_to(_ROOT) or path == _ROOT:
        return False
    within = path.relative_to(_ROOT)
    return not ANY_PYTHON.isdisjoint((within.parts[0], within.as_posix()))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings from the environment in which the tests run."""
    for name in list(os.environ):
        if name.startswith("LOGSHIP_") and not name.startswith("LOGSHIP_TEST_"):
            monkeypatch.delenv(name)
    for name in ("FLUENT_HOST", "FLUENT_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> Iterator[int]:
    """A loopback port that no other program gets."""
    reserved = ReservedPort()
    yield reserved.number
    reserved.close()


@pytest.fixture
def time_limit() -> Iterator[Callable[[], None]]:
    """Return what a signal interrupts a program for, by an exception that is an `OSError`."""

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise TimeoutError("the application's own time limit")

    before = signal.signal(signal.SIGUSR1, end)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture(autouse=True)
def _no_shipper_is_left() -> Iterator[None]:
    """Fail where a client of the test still ships: it would disturb the tests that follow."""
    yield
    wait_until(_no_shipper_runs, "the threads of all clients have ended")


def _no_shipper_runs() -> bool:
    return all(thread.name != "logship-shipper" for thread in threading.enumerate())
