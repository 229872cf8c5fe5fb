"""Shows that a `__del__` under GC may want a lock of the application in any thread."""

from __future__ import annotations

from tests.support.programs import Programs


def test_a_del_may_take_a_lock_that_is_held_while_logging(programs: Programs) -> None:
    """GC runs it in any thread, the shipper's too, which must not hold a lock of ours then.

    Otherwise that thread waits for the application's lock and the application for the shipper's;
    `logging` has such a lock itself, for a moment, in `getLogger`.
    """
    ended = programs.start("""
        sys.setswitchinterval(1e-6)
        logship.install(level="INFO", linger_seconds=0.0, chunk_bytes_max=1024)
        lock = threading.RLock()

        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                with lock:
                    pass

        for number in range(4000):
            gc.set_threshold(10 if number % 200 < 100 else 100)
            with lock:
                Cycle()
                log()
    """).end(seconds_max=30)
    assert ended.returncode == 0
    ended.verdict.assert_all_delivered()
