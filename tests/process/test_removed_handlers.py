"""What `logging` may be told after `install()`, and what is told of a handler that is removed."""

from __future__ import annotations

import sys

import pytest

from tests.support.programs import Programs


def test_dict_config_that_removes_the_handler_is_warned_of_once(programs: Programs) -> None:
    """It flushes, closes and detaches root handlers: that must not close the client."""
    program = programs.start("""
        import logging, logging.config
        client = logship.install(level="INFO")
        log("before")
        for _ in range(3):
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False,
                                       "root": {"handlers": [], "level": "INFO"}})
        logging.getLogger().addHandler(logging.NullHandler())
        progress("removed")
        wait_for("end")
        emit_marker(client)
    """)
    program.until("removed")
    program.until_true(lambda: "logship: " in program.stderr, "a warning")
    ended = program.finish("end")
    (warning,) = ended.warnings
    assert "logship.installed_handler" in warning
    ended.verdict.assert_all_delivered(2)


def test_another_install_puts_a_removed_handler_back_and_the_next_removal_is_warned_of_again(
    programs: Programs,
) -> None:
    """What the warning advises too: a program may have called it before as well."""
    program = programs.start("""
        import logging.config
        root = {"handlers": [], "level": "INFO"}
        for word in ("first", "second"):
            logship.install(level="INFO")
            log(word)
            logging.config.dictConfig(
                {"version": 1, "disable_existing_loggers": False, "root": root}
            )
            wait_for(f"{word} warning")
    """)
    program.until_true(lambda: program.stderr.count("was removed") == 1, "the first warning")
    program.let_go("first warning")
    program.until_true(lambda: program.stderr.count("was removed") == 2, "the second warning")
    ended = program.finish("second warning")
    assert len(ended.warnings) == 2
    ended.verdict.assert_all_delivered(2)


def test_dict_config_that_names_the_handler_keeps_it(programs: Programs) -> None:
    """What the warning advises."""
    ended = programs.start("""
        import logging.config
        logship.install(level="INFO")
        logging.config.dictConfig({
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"logship": {"()": "logship.installed_handler"}},
            "root": {"handlers": ["logship"], "level": "INFO"},
        })
        log()
    """).end(returncode=0)
    assert ended.warnings == []
    ended.verdict.assert_delivered_once()


BY_HAND = """
    records = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, logship.installed_handler())
    root.handlers[:] = [logging.handlers.QueueHandler(records)]
"""
IN_MEMORY = """
    listener = logging.handlers.MemoryHandler(2, target=logship.installed_handler())
    listener.start, listener.stop = (lambda: None), listener.flush
    root.handlers[:] = [listener]
"""
MADE_BY_THE_APPLICATION = """
    root.handlers[:] = [logship.Handler(client)]
    class listener:
        start = stop = staticmethod(lambda: None)
"""
BY_DICT_CONFIG = """
    logging.config.dictConfig({{
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {{
            "logship": {{"()": "logship.installed_handler"}},
            "other": {{"class": "logging.NullHandler"}},
            "queue": {{"class": "logging.handlers.QueueHandler", "handlers": ["{handler}"]}},
        }},
        "root": {{"handlers": ["queue"], "level": "INFO"}},
    }})
    listener = root.handlers[0].listener
"""
SINCE_3_12 = pytest.mark.skipif(sys.version_info < (3, 12), reason="no listener in dictConfig")


@pytest.mark.parametrize(
    ("configure", "warnings"),
    [
        (BY_HAND, 0),
        (IN_MEMORY, 0),
        (MADE_BY_THE_APPLICATION, 0),
        pytest.param(BY_DICT_CONFIG.format(handler="logship"), 0, marks=SINCE_3_12),
        pytest.param(BY_DICT_CONFIG.format(handler="other"), 1, marks=SINCE_3_12),
    ],
    ids=["by hand", "in memory", "made by the application", "by dictConfig", "without the handler"],
)
def test_a_handler_behind_another_one_is_not_missing(
    programs: Programs, configure: str, warnings: int
) -> None:
    source = """
        import atexit, logging.config, logging.handlers, queue
        client = logship.install(level="INFO")
        root = logging.getLogger()
    """
    end = """
        listener.start()
        atexit.register(listener.stop)
        log(times=5)
    """
    ended = programs.start(source, configure, end).end(returncode=0)
    assert ["was removed" in each for each in ended.warnings] == [True] * warnings
    if not warnings:
        ended.verdict.assert_all_delivered(5)


def test_basic_config_afterwards_has_no_effect_and_that_is_told(programs: Programs) -> None:
    ended = programs.start("""
        logship.install(level="INFO")
        logging.basicConfig(level=logging.ERROR)
        assert logging.getLogger().level == logging.INFO
        log()
    """).end(returncode=0)
    (warning,) = ended.warnings
    assert "logging.basicConfig had no effect" in warning
    ended.verdict.assert_all_delivered()


def test_no_removal_is_told_where_a_named_logger_brings_the_handler_back(
    programs: Programs,
) -> None:
    ended = programs.start("""
        logging.getLogger("shop")
        logship.install(level="INFO", loggers="shop")
        root, handler = logging.getLogger(), logship.installed_handler()
        root.removeHandler(handler)
        while handler not in root.handlers:
            time.sleep(0.01)
        log()
    """).end(returncode=0)
    assert ended.warnings == []
    ended.verdict.assert_delivered_once()


@pytest.mark.parametrize(
    ("before", "options"),
    [
        ("", "level=logging.DEBUG, force=True"),
        ("logging.basicConfig()", "level=logging.DEBUG"),  # so it is without logship
    ],
)
def test_other_calls_of_basic_config_are_not_told(
    programs: Programs, before: str, options: str
) -> None:
    ended = programs.start(f"""
        {before or "pass"}
        logship.install()
        logging.basicConfig({options})
    """).end(returncode=0)
    assert "logging.basicConfig had no effect" not in ended.stderr
