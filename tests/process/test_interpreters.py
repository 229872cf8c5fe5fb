"""Shows what interpreters differ in: subinterpreters, and the context that threads start in."""

from __future__ import annotations

import sys

from tests.support.programs import Programs

IN_A_SUBINTERPRETER = """
    import sys, textwrap

    def run_elsewhere(source):
        source = f"import sys\\nsys.path[:] = {sys.path!r}\\n" + textwrap.dedent(source)
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
            run = interpreters.exec
        else:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        number = interpreters.create()
        failed = run(number, source)
        assert failed is None, failed
        interpreters.destroy(number)
"""


def test_a_subinterpreter_is_refused_before_anything_starts(programs: Programs) -> None:
    """The process would abort at the subinterpreter's end, because of our threads."""
    ended = programs.start(
        IN_A_SUBINTERPRETER,
        '''
        run_elsewhere("""
            import os, threading
            import logship
            for start in logship.install, logship.BackgroundClient, logship.Client:
                try:
                    start()
                except logship.UnsupportedRuntime as error:
                    assert "subinterpreter" in str(error)
                    assert threading.active_count() == 1
                    print("refused", flush=True)
        """)
        progress("destroyed")
        ''',
    ).end()
    if sys.version_info[:2] != (3, 12):  # where a subinterpreter that imported ssl alone breaks it
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "refused\n" * 3
    assert ended.progress == ("destroyed",)


def test_logships_threads_start_in_an_empty_context(programs: Programs) -> None:
    """Since 3.14 a thread may inherit its starter's, and keep a request's objects alive."""
    ended = programs.start(
        """
        import contextvars, gc, weakref
        import logship

        class Request:
            pass

        current = contextvars.ContextVar("current")

        def handle():
            request = Request()
            current.set(request)
            client = logship.install(level="INFO", linger_seconds=0.01)
            log("in a request")
            return client, weakref.ref(request)

        client, request = contextvars.Context().run(handle)
        assert client.flush(timeout=30).all_acked
        gc.collect()
        print("kept" if request() else "gone")
        """,
        python=("-X", "thread_inherit_context=1"),
    ).end(returncode=0)
    assert ended.stdout == "gone\n"
    ended.verdict.assert_all_delivered()
