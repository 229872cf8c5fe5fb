"""What settings take from their surroundings: limits of a container, and the names of signals."""

from __future__ import annotations

import dataclasses
import pickle
import signal
from pathlib import Path

import pytest

from logship._settings import (
    MIB,
    Settings,
    buffer_bytes_for,
    memory_limit_bytes,
    stop_timeout_for,
)
from logship._signal_names import signal_name, signal_number

# -- what the container allows ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "limit"),
    [
        ("memory.max", "536870912\n", 536870912),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "268435456\n", 268435456),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("memory.max", "", None),
        ("another", "1", None),
    ],
)
def test_memory_limit_of_both_cgroup_versions(
    tmp_path: Path, file: str, text: str, limit: int | None
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert memory_limit_bytes(tmp_path) == limit


@pytest.mark.parametrize(
    ("limit", "buffer"),
    [
        (None, 64 * MIB),
        (512 * MIB, 32 * MIB),
        (16 * MIB, 4 * MIB),
        (1024 * MIB, 64 * MIB),
        (99_999 * MIB, 64 * MIB),
    ],
)
def test_the_buffer_fits_the_container(limit: int | None, buffer: int) -> None:
    assert buffer_bytes_for(limit) == buffer


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 9.0),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://x"}, 30.0),
        ({"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, 30.0),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 30.0),
    ],
)
def test_the_stop_timeout_is_the_orchestrators(environ: dict[str, str], seconds: float) -> None:
    assert stop_timeout_for(environ) == seconds
    assert Settings.from_env(environ).stop_timeout_seconds == seconds


# -- signals by name and by number -----------------------------------------------------------------


def test_equal_settings_are_the_same_value() -> None:
    """They are copied as a dataclass, and nothing changes them."""
    chosen = Settings(tag="web", fields={"a": 1}, shared_key="key")
    same = dataclasses.replace(Settings(fields={"a": 1}, shared_key="key"), tag="web")
    assert chosen == same
    assert hash(chosen) == hash(same)
    assert chosen not in (dataclasses.replace(chosen, tag="job"), "web")
    names = [field.name for field in dataclasses.fields(Settings)]
    assert repr(chosen).startswith("Settings(endpoints=(Endpoint(scheme='tcp', host='127.0.0.1',")
    assert [name for name in names if f"{name}=" not in repr(chosen)] == []
    assert "shared_key=Secret('***')" in repr(chosen)
    with pytest.raises(dataclasses.FrozenInstanceError):
        chosen.tag = "job"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(Settings(tag="web"))) == Settings(tag="web")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        (" sigquit ", signal.SIGQUIT),
        ("3", signal.SIGQUIT),
        ("POLL", signal.SIGIO),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("rtmax-2", signal.SIGRTMAX - 2),
    ],
)
def test_each_spelling_is_read(text: str, number: int) -> None:
    assert signal_number(text) == number
    assert signal_number(signal_name(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "SIG", "FOO", "SIG_DFL", "TERM\0", "RTMIN+3 TERM"),
        *("0", "-15", "65", "²", "9" * 5000),
        *("RTMIN+", "RTMIN+٣", "RTMIN-1", "RTMAX+1"),
    ],
)
def test_what_is_no_signal_has_no_number(text: str) -> None:
    assert signal_number(text) is None


def test_real_time_signals_have_names() -> None:
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
