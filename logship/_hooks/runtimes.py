"""Programs that `install()` refuses, because logship would lose their records.

The checks look at modules that are loaded already, and import none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from logship._hooks.threads import refuse_subinterpreter
from logship.errors import UnsupportedRuntime

_GRACEFUL_STOP = "gracefully_kill_them_all"


def refuse_unsupported(*, is_spooled: bool) -> None:
    """Refuse a program in which logship has no thread, no working fork or no exit hook.

    A spool makes up for exit hooks that do not run.

    Raises:
        UnsupportedRuntime: The text names the runtime and what to change.
    """
    refuse_subinterpreter()
    for reason in (*patched_by_greenlets(), *_impossible_under_uwsgi(is_spooled)):
        raise UnsupportedRuntime(f"install: {reason}")


def is_uwsgi() -> bool:
    """Return whether uWSGI runs this program. uWSGI handles every signal itself, in C."""
    return _uwsgi() is not None


def patched_by_greenlets() -> Iterator[str]:
    """Yield why there is no thread: logship's loop would be one more greenlet."""
    for library, module, question, threads in (
        ("gevent", "gevent.monkey", "is_module_patched", "threading"),
        ("eventlet", "eventlet.patcher", "is_monkey_patched", "thread"),
    ):
        is_patched = getattr(sys.modules.get(module), question, lambda _: False)
        if is_patched(threads) or is_patched("socket"):
            yield (
                f"{library} has patched this program, so logship cannot have a thread of its own "
                "in it; log to stdout and start the program under `logship run -- CMD …` instead"
            )


def _impossible_under_uwsgi(is_spooled: bool) -> Iterator[str]:
    """Yield the options of uWSGI that leave no thread, no working fork or no exit hook."""
    uwsgi = _uwsgi()
    if uwsgi is None:
        return
    if not getattr(uwsgi, "has_threads", True):
        yield (
            "uWSGI runs this program without threads, so nothing could be shipped between two "
            "requests; start it with --enable-threads"
        )
    # A master, or the first of several processes, will still fork workers.
    if uwsgi.worker_id() == 0 and (uwsgi.masterpid() > 0 or uwsgi.numproc > 1):
        yield (
            "uWSGI will fork its workers from this process without telling Python, which leaves a "
            "program with threads in an undefined state; start it with --lazy-apps, or call "
            "install() in a function under uwsgidecorators.postfork"
        )
    if is_spooled:
        return
    if "skip-atexit" in uwsgi.opt:
        yield (
            "uWSGI's option --skip-atexit ends workers without telling them, so their last "
            "records would be lost; remove it, or set spool_dir"
        )
    if _GRACEFUL_STOP not in str(uwsgi.opt.get("hook-master-start")):
        yield (
            "uWSGI ends a worker that is busy when SIGTERM comes without telling it, so its last "
            "records would be lost; start it with --master and --hook-master-start "
            f"'unix_signal:15 {_GRACEFUL_STOP}', or set spool_dir"
        )


def _uwsgi() -> Any:
    """Return the module that uWSGI makes in the programs it embeds, or None."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi if hasattr(uwsgi, "masterpid") else None
