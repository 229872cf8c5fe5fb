"""Every setting from the environment, and every mistake as one error that says what to do."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._client.client import Client
from logship._settings import (
    MIB,
    Endpoint,
    Settings,
    variable_name,
)
from logship._settings.unknown import unknown_variables
from logship.errors import SettingsError
from tests.support.programs import REPOSITORY

OTHER_FIELDS = [
    *("level", "logger", "thread", "exception", "stack", "logging_error", "arguments"),
    *("trace_id", "span_id", "records_kept_back", "source"),
]
"""What records of `logging` and of lines have, beside a text."""

FROM_ENVIRONMENT: dict[str, tuple[str, Any]] = {
    "endpoints": (
        "tcp://a:1, tls://b:2,unix:///run/s.sock",
        (
            Endpoint("tcp", "a", 1, ""),
            Endpoint("tls", "b", 2, ""),
            Endpoint("unix", "", 0, "/run/s.sock"),
        ),
    ),
    "tag": ("web", "web"),
    "firelens_tag": ("on", True),
    "message_key": ("log", "log"),
    "buffer_bytes_max": ("1048576", MIB),
    "chunk_bytes_max": ("4k", 4000),
    "linger_seconds": ("500ms", 0.5),
    "inflight_chunks_max": ("3", 3),
    "overflow": ("drop_oldest", "drop_oldest"),
    "block_seconds_max": ("2", 2.0),
    "last_resort": ("none", "none"),
    "spill_bytes_per_second_max": ("0", 0),
    "ack_timeout_seconds": ("120", 120.0),
    "connect_timeout_seconds": ("1.5", 1.5),
    "backoff_seconds_base": ("0.1", 0.1),
    "backoff_seconds_max": ("7", 7.0),
    "stop_timeout_seconds": ("120", 120.0),
    "stop_signals": ("term, SIGQUIT,15,RTMIN+3", (3, 15, signal.SIGRTMIN + 3)),
    "exit_drain_seconds": ("4", 4.0),
    "exit_stall_seconds": ("6", 6.0),
    "exit_drain_seconds_max": ("60", 60.0),
    "child_drain_seconds": ("1", 1.0),
    "compress": ("gzip", "gzip"),
    "spool_dir": ("/spool", "/spool"),
    "spool_bytes_max": ("32MiB", 32 * MIB),
    "spool_fsync": ("interval", "interval"),
    "stamp": ("0", False),
    "stamp_key": ("id", "id"),
    "high_water_seconds": ("10", 10.0),
    "report": ("emf", "emf"),
    "metrics_port": ("9100", 9100),
    "metrics_host": ("0.0.0.0", "0.0.0.0"),
    "metrics_dir": ("/run/logship", "/run/logship"),
    "ecs_fields": ("off", False),
    "disabled": ("1", True),
    "fields": ("service.name=web,a=b\\,c", (("service.name", "web"), ("a", "b,c"))),
    "identity": ("otel,host", ("otel", "host")),
    "rename": ("level=severity_text", (("level", "severity_text"),)),
    "severity_key": ("severity_number", "severity_number"),
    "time_key": ("@timestamp", "@timestamp"),
    "time_format": ("epoch", "epoch"),
    "sample": ("DEBUG=0.1,INFO=1", (("DEBUG", 0.1), ("INFO", 1.0))),
    "logger_records_max": ("100", 100),
    "template_records_max": ("1", 1),
    "flood_seconds": ("10", 10.0),
    "loggers": ("uvicorn, gunicorn", ("uvicorn", "gunicorn")),
    "levels_file": ("/run/levels", "/run/levels"),
    "redact": ("default,field:iban", "default,field:iban"),
}
ELSEWHERE = {
    *("shared_key", "username", "password", "tls_ca", "tls_cert", "tls_key", "tls_server_name")
}


@pytest.mark.parametrize(
    ("argument", "tag"),
    [
        ("/srv/shop.py", "shop"),
        ("/srv/shop/__main__.py", "shop"),  # python -m shop
        ("/srv/shop/__main__.pyc", "shop"),  # of a package without sources
        ("/srv/shop/", "shop"),
        ("__main__.py", "logship"),
        ("./__main__.py", "logship"),
        (".", "logship"),
        ("-c", "logship"),
        ("/srv/caf\udce9.py", "logship"),  # a name in another encoding
    ],
)
def test_the_default_tag_is_the_programs_name(
    monkeypatch: pytest.MonkeyPatch, argument: str, tag: str
) -> None:
    monkeypatch.setattr("sys.argv", [argument, "serve"])
    assert Settings.from_env({}).tag == tag


@pytest.mark.parametrize(
    ("command", "tag"),
    [
        (["-m", "shop"], "shop"),
        (["-m", "shop.worker"], "worker"),
        (["-m", "shop.__main__"], "shop"),
        (["-bumshop.worker"], "worker"),
    ],
)
def test_a_package_has_the_programs_name_while_python_imports_it(
    tmp_path: Path, command: list[str], tag: str
) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    text = "import logship; print(logship.Settings.from_env({}).tag)"
    for name in ("__init__", "__main__", "worker"):
        (package / f"{name}.py").write_text(text)
    run = subprocess.run(
        [sys.executable, "-X", "dev", *command, "serve"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [tag, tag]


def test_no_setting_is_forgotten_here() -> None:
    names = {each.name for each in dataclasses.fields(Settings)}
    assert names - ELSEWHERE == set(FROM_ENVIRONMENT)


@pytest.mark.parametrize(("name", "value"), FROM_ENVIRONMENT.items())
def test_every_setting_has_a_variable(name: str, value: tuple[str, Any]) -> None:
    text, meaning = value
    settings = Settings.from_env({f"LOGSHIP_{name.upper()}": text})
    assert getattr(settings, name) == meaning
    assert getattr(Settings.from_env({}), name) != meaning, "shows nothing: it is the default"


def test_arguments_win_over_the_environment_and_empty_variables_are_none() -> None:
    environ = {"LOGSHIP_TAG": "environment", "LOGSHIP_LINGER_SECONDS": ""}
    settings = Settings.from_env(environ, tag="argument")
    assert (settings.tag, settings.linger_seconds) == ("argument", 0.2)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("buffer_bytes_max", "64 megabytes", "as in 64MiB"),
        ("buffer_bytes_max", "1.5MiB", "whole number"),
        ("buffer_bytes_max", "MiB", "whole number"),
        ("buffer_bytes_max", "-1GiB", "at least 64KiB"),
        ("buffer_bytes_max", "1.5", "whole number"),
        ("buffer_bytes_max", "1024", "at least 64KiB"),
        ("buffer_bytes_max", "9" * 5000, "whole number"),
        ("chunk_bytes_max", "1000001", "1KiB to 1MB"),
        ("stop_timeout_seconds", "0", "0.5"),
        ("inflight_chunks_max", "0", "1 to 1024"),
        ("linger_seconds", "fast", "a number"),
        ("linger_seconds", "1d", "ms, s, m or h"),
        ("linger_seconds", "1m30s", "ms, s, m or h"),
        ("linger_seconds", "2m", "0s to 60s"),
        ("linger_seconds", "1e308h", "a number"),
        ("inflight_chunks_max", "8k", "whole number"),
        ("linger_seconds", "nan", "a number"),
        ("linger_seconds", "inf", "a number"),
        ("linger_seconds", "-1", "0s to 60s"),
        ("overflow", "dropoldest", "block or drop_oldest or drop_newest"),
        ("last_resort", "stdout", "stderr or none"),
        ("stamp", "maybe", "1 or 0"),
        ("report", "json", "1, 0 or emf"),
        ("metrics_port", "65536", "0 to 65535"),
        ("metrics_port", "9100.5", "whole number"),
        ("metrics_host", "a\nb", "printable"),
        *((("tls_server_name", text, "1 to 63")) for text in (".a", "a..b", "a" * 64, "é" * 60)),
        ("spool_bytes_max", "1024", "at least 16MiB"),
        ("spool_dir", "a\nb", "printable"),
        ("spool_fsync", "always", "interval"),
        ("tag", "a\nb", "printable"),
        ("stamp_key", "k" * 256, "1 to 255 bytes"),
        ("redact", "card", "passwords, headers"),
        ("fields", "web", "NAME=VALUE"),
        ("fields", "=web", "names of 1 to 255 bytes"),
        ("fields", "a=1,a=2", "each name once"),
        ("rename", "a=b,c=b", "each new name once"),
        ("rename", "a=", "1 to 255 bytes"),
        ("identity", "otel,nomad", "otel, ecs, kubernetes, host"),
        ("time_format", "rfc3339", "iso or epoch"),
        ("sample", "DEBUG=2", "0 to 1"),
        ("sample", "DEBUG=nan", "0 to 1"),
        ("sample", "DEBUG", "LEVEL=SHARE"),
        ("template_records_max", "0", "at least 1"),
        ("loggers", "a,,b", "names of 1 to 255 bytes"),
        ("loggers", "uvicorn.*", "* for all"),
        ("redact", "field:", "field:NAME"),
        ("redact", " , ", "the name of a rule"),
        ("severity_key", "message", "no other field"),
        ("severity_key", "logger", "no other field"),
        ("time_key", "logship_id", "other than stamp_key's"),
        ("stamp_key", "logship_end", "logship_id, or a name without logship_"),
        *(
            (("stop_signals", text, "HUP, INT"))
            for text in ("KILL", "STOP", "TSTP", "CHLD", "SEGV")
        ),
        *((("stop_signals", text, "QUIT")) for text in ("FOO", "0", ",", "TERMQUIT", "RTMIN+99")),
    ],
)
def test_a_wrong_value_is_one_error_that_names_everything(name: str, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable_name(name): text})
    message = str(caught.value)
    assert name in message
    assert variable_name(name) in message
    assert text.splitlines()[0][:100] in message
    assert says in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("buffer_bytes_max", 1e6),
        ("buffer_bytes_max", True),
        pytest.param("buffer_bytes_max", 10**400, id="400 digits"),
        pytest.param("buffer_bytes_max", f"{'9' * 4000}GiB", id="4000 digits"),
        pytest.param("linger_seconds", 10**5000, id="5000 digits"),
        ("linger_seconds", "fast"),
        ("linger_seconds", b"1s"),
        ("inflight_chunks_max", "8"),
        ("linger_seconds", None),
        ("stamp", 1),
        ("report", "json"),
        ("metrics_port", "9100"),
        ("metrics_port", True),
        ("metrics_host", None),
        ("tag", b"web"),
        ("tag", ""),
        ("tag", "\udc80"),
        ("overflow", ["block"]),
        ("redact", "str"),
        ("redact", 5),
        ("fields", 5),
        ("fields", {"a": object()}),
        ("fields", {"a": float("nan")}),
        ("fields", {1: "a"}),
        ("identity", 5),
        ("rename", {"a": 1}),
        pytest.param("sample", {"INFO": 10**400}, id="share of 400 digits"),
        ("loggers", 5),
        ("loggers", [5]),
        ("endpoints", 5),
        ("endpoints", [5]),
        ("endpoints", []),
        ("endpoints", ""),
        ("endpoints", b"tcp://a:1"),
        ("stop_signals", []),
        ("stop_signals", ""),
        ("stop_signals", 15),
        ("stop_signals", [15.0]),
        ("stop_signals", [None]),
        ("stop_signals", b"TERM"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("buffer_bytes_max", "70000", 70_000),
        ("buffer_bytes_max", " 256k ", 256_000),
        ("buffer_bytes_max", "256 kB", 256_000),
        ("buffer_bytes_max", "64KiB", 64 << 10),
        ("buffer_bytes_max", "64MB", 64_000_000),
        ("buffer_bytes_max", "64M", 64_000_000),
        ("buffer_bytes_max", "64mib", 64 << 20),
        ("buffer_bytes_max", "2G", 2_000_000_000),
        ("buffer_bytes_max", "2GB", 2_000_000_000),
        ("buffer_bytes_max", "2GiB", 2 << 30),
        ("linger_seconds", "700ms", 0.7),
        ("linger_seconds", "0.5ms", 0.0005),
        ("linger_seconds", "2s", 2.0),
        ("linger_seconds", "0.1m", 6.0),
        ("linger_seconds", ".01H", 36.0),
        ("linger_seconds", "1e-3", 0.001),
    ],
)
def test_sizes_and_durations_have_units(name: str, text: str, value: float) -> None:
    from_environment = Settings.from_env({variable_name(name): text})
    assert getattr(from_environment, name) == value
    assert Settings(**dict[str, Any]({name: text})) == from_environment


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lingering_seconds", "did you mean linger_seconds?"),
        ("tagg", "did you mean tag?"),
        ("port", "did you mean endpoints?"),
        ("x" * 100_000, "there are endpoints, tag, "),
    ],
)
def test_a_setting_that_does_not_exist_is_named(name: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({}, **dict[str, Any]({name: 1}))
    assert str(caught.value).startswith(name[:100])
    assert f": no such setting; {told}" in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_all_mistakes_are_one_error() -> None:
    environ = {
        "LOGSHIP_OVERFLOW": "drop",
        "LOGSHIP_STAMP": "maybe",
        "LOGSHIP_BUFFER_BYTES_MAX": "1",
        "LOGSHIP_PASSWORD_FILE": "/nowhere",
        "LOGSHIP_USERNAME": "ann",
        "LOGSHIP_BACKOFF_SECONDS_BASE": "2s",
        "LOGSHIP_BACKOFF_SECONDS_MAX": "1s",
        "LOGSHIP_ENDPOINTS": "tls://a",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ, tagg="t", linger_seconds="fast", tls_ca="ca.pem")  # type: ignore[call-arg]
    assert [each.partition(":")[0] for each in caught.value.mistakes] == [
        "tagg",
        "endpoints (LOGSHIP_ENDPOINTS)",
        "buffer_bytes_max (LOGSHIP_BUFFER_BYTES_MAX)",
        "linger_seconds (LOGSHIP_LINGER_SECONDS)",
        "overflow (LOGSHIP_OVERFLOW)",
        "LOGSHIP_PASSWORD_FILE",
        "stamp (LOGSHIP_STAMP)",
        "backoff_seconds_base (LOGSHIP_BACKOFF_SECONDS_BASE)",
    ]
    text = str(caught.value)
    assert text == f"8 settings are wrong: {' | '.join(caught.value.mistakes)}"
    for value in ("'tls://a'", "'1'", "'fast'", "'drop'", "/nowhere", "'maybe'", "2.0"):
        assert value in text


def test_the_argument_that_replaces_a_wrong_variable_is_right() -> None:
    assert (
        Settings.from_env({"LOGSHIP_LINGER_SECONDS": "fast"}, linger_seconds=1).linger_seconds == 1
    )


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, ""),
        ({"LOGSHIP_TAG": "t", "LOGSHIP_SHARED_KEY_FILE": "/key", "LOGSHIPPER": "x"}, ""),
        ({"LOGSHIP_TAGG": "hidden"}, "LOGSHIP_TAGG (did you mean LOGSHIP_TAG?)"),
        (
            {"LOGSHIP_SHARED_KEYFILE": "hidden"},
            "LOGSHIP_SHARED_KEYFILE (did you mean LOGSHIP_SHARED_",
        ),
        ({"LOGSHIP_TAG_FILE": "hidden"}, "LOGSHIP_TAG_FILE"),
        ({"LOGSHIP_QQQQ": "hidden", "LOGSHIP_OVERFLO": "hidden"}, "QQQQ, LOGSHIP_OVERFLO (did you"),
        ({"LOGSHIP_A\nB": "hidden"}, r"LOGSHIP_A\nB"),
        ({"LOGSHIP_METRIC_PORT": "hidden"}, "did you mean LOGSHIP_METRICS_PORT?"),
        ({"LOGSHIP_TAGG": "x", "LOGSHIP_STOP_FILE": "/stop"}, ""),
        ({f"LOGSHIP_Q{each}": "hidden" for each in range(10_000)}, "LOGSHIP_Q9 and 9990 more"),
    ],
)
def test_variables_that_no_program_reads_are_told(environ: dict[str, str], told: str) -> None:
    text = unknown_variables(environ)
    assert told in text
    assert bool(text) == bool(told)
    assert text.isprintable()
    assert "hidden" not in text


def test_variables_of_sidecars_and_of_kubernetes_are_no_mistakes() -> None:
    files = [REPOSITORY / "docker-compose.yml"]
    files += (each for each in (REPOSITORY / "sidecar").rglob("*") if each.is_file())
    found = {name for each in files for name in re.findall("LOGSHIP_[A-Z0-9_]+", each.read_text())}
    assert {"LOGSHIP_OUTPUT", "LOGSHIP_GRACE_SECONDS", "LOGSHIP_S3_BUCKET"} < found
    url = "tcp://10.0.0.1:24224"
    kubernetes = {
        "LOGSHIP_SERVICE_HOST": "10.0.0.1",
        "LOGSHIP_SERVICE_PORT_FORWARD": "24224",
        "LOGSHIP_PORT": url,
        "LOGSHIP_EU_1_PORT": url,
        "LOGSHIP_EU_1_PORT_24224_TCP_ADDR": "10.0.0.1",
    }
    assert unknown_variables({**dict.fromkeys(found, "1"), **kubernetes}) == ""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"backoff_seconds_base": 2.0, "backoff_seconds_max": 1.0}, "backoff_seconds_base"),
        ({"chunk_bytes_max": 100_000, "buffer_bytes_max": 65536}, "chunk_bytes_max"),
        ({"message_key": "level"}, "message_key"),
        ({"message_key": "logship_id"}, "message_key"),
        ({"severity_key": "message"}, "severity_key"),
        ({"time_key": "log", "message_key": "log"}, "time_key"),
        ({"time_key": "s", "severity_key": "s"}, "time_key"),
        *(({"stamp_key": name}, "stamp_key") for name in (*OTHER_FIELDS, "logship_gap")),
        *(({"message_key": name}, "message_key") for name in OTHER_FIELDS),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings(**settings)


@pytest.mark.parametrize(
    ("buffer_bytes_max", "chunk_bytes_max"),
    [(64 << 20, 512 << 10), (8 << 20, 512 << 10), (4 << 20, 256 << 10), (64 << 10, 4 << 10)],
)
def test_a_window_of_chunks_takes_half_of_the_buffer_at_most_unless_told_otherwise(
    buffer_bytes_max: int, chunk_bytes_max: int
) -> None:
    settings = Settings(buffer_bytes_max=buffer_bytes_max)
    assert settings.chunk_bytes_max == chunk_bytes_max
    assert Settings(buffer_bytes_max=buffer_bytes_max) == settings
    assert Settings(buffer_bytes_max=1 << 20, chunk_bytes_max=1 << 19).chunk_bytes_max == 1 << 19


def test_pairs_may_come_from_an_iterator() -> None:
    assert Settings(fields=iter([("team", "web")])).fields == (("team", "web"),)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Client, BackgroundClient])
def test_clients_take_settings_by_name(
    kind: type[Client | BackgroundClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGSHIP_TAG", "environment")
    monkeypatch.setenv("LOGSHIP_MESSAGE_KEY", "log")
    settings = kind(tag="web", linger_seconds="10ms", disabled=True).settings
    assert (settings.tag, settings.message_key, settings.linger_seconds) == ("web", "log", 0.01)
    with pytest.raises(SettingsError, match="tagg: no such setting; did you mean tag"):
        kind(tagg="web", disabled=True)  # type: ignore[call-arg]
    with pytest.raises(SettingsError, match="tag: give a Settings object or settings by name"):
        kind(settings, tag="another")
    assert kind(settings).settings is settings
