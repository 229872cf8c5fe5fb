"""Right uses of the public names: type checkers read this, and no program runs it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from typing import Any, assert_type

import logship
from logship.metrics import LogshipCollector
from logship.testing import ManualClock, MemoryTransport, Sidecar


def hide(record: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    return {**record, "password": "***"}


def in_an_entrypoint() -> None:
    assert_type(logship.install(), logship.BackgroundClient)
    logship.install("INFO", console=True, tag="web", redact=hide)
    logship.install(
        level=logging.INFO,
        endpoints=["tcp://a:1", "tls://b:2"],
        buffer_bytes_max="64MiB",
        chunk_bytes_max=256 * 1024,
        linger_seconds="500ms",
        ack_timeout_seconds=90,
        overflow="drop_oldest",
        redact="default",
        fields={"service.name": "web"},
        sample={"DEBUG": 0.1},
        loggers=("uvicorn", "gunicorn"),
        stop_signals={"TERM", signal.SIGINT},
        shared_key="key",
        report="emf",
        metrics_port=None,
    )
    assert_type(logship.stopping("SIGTERM"), None)
    logging.getLogger().addHandler(logship.installed_handler())


def with_settings_of_my_own() -> None:
    settings = logship.Settings.from_env(os.environ, tag="web", spool_bytes_max="1GiB")
    assert_type(settings, logship.Settings)
    assert_type(logship.Settings(linger_seconds="2s").linger_seconds, float)
    assert_type(settings.buffer_bytes_max, int)
    assert_type(settings.tag, str)
    logship.BackgroundClient(settings, transport=MemoryTransport(Sidecar()))


def in_threads() -> None:
    with logship.BackgroundClient(tag="web", linger_seconds=0.1) as client:
        assert_type(client.emit({"message": "hi"}, tag="other"), bool)
        assert_type(client.send({"message": "hi"}, timeout=1), None)
        assert_type(client.send_many([{"n": 1}, {"n": 2}], time_ns=1), None)
        assert_type(client.flush(timeout=5), logship.FlushReport)
        assert_type(client.settings, logship.Settings)
        logging.getLogger().addHandler(logship.Handler(client, logging.INFO, tag="audit"))
    report = client.close(timeout=25)
    assert_type(report, logship.DrainReport)
    assert_type(report.accepted, int)
    assert_type(report.seconds, float)


async def on_an_event_loop() -> None:
    async with logship.Client(tag="web") as client:
        assert_type(client, logship.Client)
        assert_type(await client.send({"message": "hi"}), None)
        assert_type(client.emit({"message": "hi"}), bool)
        assert_type((await client.flush()).all_acked, bool)
        assert_type(await client.close(timeout=25), logship.DrainReport)


def with_fields_of_a_request() -> None:
    with logship.context(request_id="7f3a", tries=1):
        logging.info("paid")


def with_errors() -> None:
    try:
        logship.install()
    except logship.SettingsError as error:
        assert_type(error.mistakes, tuple[str, ...])
    except (logship.BufferFull, logship.ClientClosed) as error:
        assert_type(error.records_accepted, int)
    except logship.LogshipError:
        raise


def in_tests() -> None:
    clock = ManualClock(1.0)
    assert_type(clock(), float)
    sidecar = Sidecar()
    assert_type([each.record for each in sidecar.delivered], list[dict[str, Any]])
    LogshipCollector()
