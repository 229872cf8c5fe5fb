"""Shows that a stop signal's exception leaves nothing half done, wherever it strikes."""

from __future__ import annotations

import signal

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Programs

LOCK_THAT_IS_STRUCK = """
    import signal, threading
    import logship
    from application import forever, log
    logship.install(level="INFO")

    class Lock:
        def __init__(self):
            self._lock = threading.Lock()
            self._strikes = ["{place}"]

        def __enter__(self):
            self._lock.acquire()
            if "__enter__" in self._strikes:
                self._strikes.clear()
                signal.raise_signal(signal.{signum})

        def __exit__(self, *error):
            if "__exit__" in self._strikes:
                self._strikes.clear()
                signal.raise_signal(signal.{signum})
            self._lock.release()
"""


@pytest.mark.parametrize("signum", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("place", ["__enter__", "__exit__"])
def test_a_lock_is_free_although_a_signal_struck_on_the_way_into_or_out_of_its_with_block(
    programs: Programs, sidecar: Sidecar, place: str, signum: str
) -> None:
    ended = programs.start(
        LOCK_THAT_IS_STRUCK.format(place=place, signum=signum)
        + """
    lock = Lock()
    try:
        with lock:
            log("inside")
        forever()
    finally:
        with lock:
            log("last words")
            print("ended")
    """
    ).end()
    assert ended.returncode == -getattr(signal, signum), ended.stderr
    assert ended.stdout == "ended\n"
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_program_that_waits_on_the_way_out_of_a_with_block_is_interrupted_there(
    programs: Programs, sidecar: Sidecar
) -> None:
    program = programs.start("""
        import time
        import logship
        from application import log, progress
        logship.install(level="INFO")

        class Waits:
            def __enter__(self):
                log("inside")

            def __exit__(self, *error):
                progress("waits")
                try:
                    time.sleep(3600)
                finally:
                    log("last words")
                    print("interrupted")

        with Waits():
            pass
    """)
    program.until("waits")
    program.process.send_signal(signal.SIGTERM)
    ended = program.end()
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    assert ended.stdout == "interrupted\n"
    sidecar.output.verdict(ended).assert_all_delivered()
