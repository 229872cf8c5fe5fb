"""Wrong uses of the public names: each line is an error, or its `ignore` would be one."""

from __future__ import annotations

import os

import logship


def a_misspelt_name() -> None:
    logship.install(tagg="web")  # type: ignore[call-arg]
    logship.Client(lingering_seconds=1)  # type: ignore[call-arg]
    logship.BackgroundClient(buffer_bytes="64MiB")  # type: ignore[call-arg]
    logship.Settings(spool="/spool")  # type: ignore[call-arg]
    logship.Settings.from_env(os.environ, endpoint="tcp://a:1")  # type: ignore[call-arg]


def a_value_of_another_type() -> None:
    logship.install(tag=b"web")  # type: ignore[arg-type]
    logship.install(stamp="on")  # type: ignore[arg-type]
    logship.install(inflight_chunks_max="8")  # type: ignore[arg-type]
    logship.install(buffer_bytes_max=1.5)  # type: ignore[arg-type]
    logship.install(metrics_port="9100")  # type: ignore[arg-type]
    logship.Client(linger_seconds=None)  # type: ignore[arg-type]
    logship.BackgroundClient(redact=str)  # type: ignore[arg-type]


def a_word_that_is_not_allowed() -> None:
    logship.install(overflow="drop")  # type: ignore[arg-type]
    logship.Client(compress="lz4")  # type: ignore[arg-type]
    logship.Settings(last_resort="stdout")  # type: ignore[arg-type]


def no_settings_object() -> None:
    logship.Client({"tag": "web"})  # type: ignore[arg-type]
    logship.BackgroundClient("tcp://a:1")  # type: ignore[arg-type]


def a_frozen_field(settings: logship.Settings) -> None:
    settings.tag = "web"  # type: ignore[misc]


async def a_forgotten_await(client: logship.Client) -> None:
    client.send({"message": "hi"})  # type: ignore[unused-coroutine]
    client.flush().all_acked  # type: ignore[attr-defined]  # noqa: B018 - so is this


def an_await_too_much(client: logship.BackgroundClient) -> None:
    with client as entered:
        entered.emit("hi")  # type: ignore[arg-type]
    client.close(timeout="25")  # type: ignore[arg-type]
