"""The endpoints of the settings, as text and as FireLens gives them."""

from __future__ import annotations

from typing import Any

import pytest

from logship._settings import (
    Endpoint,
    Settings,
)
from logship.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://host:24224", Endpoint("tcp", "host", 24224, "")),
        ("tcp://[::1]:24224", Endpoint("tcp", "::1", 24224, "")),
        ("tls://[fe80::1%eth0]:65535", Endpoint("tls", "fe80::1%eth0", 65535, "")),
        ("tls://bücher.example.:1", Endpoint("tls", "bücher.example.", 1, "")),
        ("unix:///run/fluent.sock", Endpoint("unix", "", 0, "/run/fluent.sock")),
    ],
)
def test_endpoints_are_read_and_written_alike(text: str, endpoint: Endpoint) -> None:
    assert Endpoint.parse(f" {text} ") == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    [
        "host:24224", "tcp://host", "tcp://:1", "tcp://host:", "tcp://host:0", "tcp://host:65536",
        "tcp://host:-1", "tcp://host:1/path", "tcp://::1:24224", "udp://host:1", "unix://relative",
        "unix://", "tcp://host:²", "tcp//host:1", "tcp://", "tcp://a b:1", "tcp:// host:1",
        "tcp://a\0b:1", "tcp://\u202ehost:1", "tcp://ho\nst:1", "unix:///run/a\nb", "tcp://a..b:1",
        "tcp://.a:1", "tcp://.:1", f"tcp://{'a' * 64}.b:1", f"tls://{'é' * 60}:1", "tls://é..b:1",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_named(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"LOGSHIP_ENDPOINTS": f"tcp://good:1,{text}"})
    assert str(caught.value).startswith("endpoints (LOGSHIP_ENDPOINTS): ")
    assert repr(text) in str(caught.value)
    assert "unix:///PATH" in str(caught.value)


def test_a_port_of_more_digits_than_python_reads_is_no_endpoint() -> None:
    digits = "1" * 5000
    with pytest.raises(SettingsError, match="is not an endpoint"):
        Settings(endpoints=f"tcp://host:{digits}")
    with pytest.raises(SettingsError, match="FLUENT_PORT"):
        Settings.from_env({"FLUENT_HOST": "host", "FLUENT_PORT": digits})


@pytest.mark.parametrize("text", ["host:24224", "127.0.0.1:9", "[::1]:1"])
def test_an_endpoint_without_its_scheme_is_told_apart_from_other_mistakes(text: str) -> None:
    with pytest.raises(SettingsError, match="is not an endpoint without tcp:// before it; allowed"):
        Endpoint.parse(text)
    with pytest.raises(SettingsError, match="is not an endpoint; allowed"):
        Endpoint.parse(f"udp://{text}")


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, "tcp://127.0.0.1:24224"),
        ({"FLUENT_HOST": "10.0.0.1", "FLUENT_PORT": "24225"}, "tcp://10.0.0.1:24225"),
        ({"FLUENT_HOST": "10.0.0.1"}, "tcp://10.0.0.1:24224"),
        ({"FLUENT_HOST": "::1", "FLUENT_PORT": ""}, "tcp://[::1]:24224"),
        ({"FLUENT_PORT": "1"}, "tcp://127.0.0.1:24224"),
        ({"FLUENT_HOST": "a", "LOGSHIP_ENDPOINTS": "tcp://b:1"}, "tcp://b:1"),
    ],
)
def test_firelens_tells_where_its_sidecar_is(environ: dict[str, str], endpoint: str) -> None:
    assert [str(each) for each in Settings.from_env(environ).endpoints] == [endpoint]


@pytest.mark.parametrize(
    ("environ", "chosen", "is_awaited"),
    [
        ({}, {}, True),
        ({"LOGSHIP_TAG": ""}, {}, True),
        ({"LOGSHIP_TAG": "web"}, {}, False),
        ({}, {"tag": "web"}, False),
        ({"FLUENT_HOST": ""}, {}, False),
        ({"ECS_CONTAINER_METADATA_URI_V4": ""}, {}, False),
        ({"LOGSHIP_FIRELENS_TAG": "off"}, {}, False),
    ],
)
def test_under_firelens_the_tag_is_found_out_where_none_is_given(
    environ: dict[str, str], chosen: dict[str, Any], is_awaited: bool
) -> None:
    firelens = {"FLUENT_HOST": "127.0.0.1", "ECS_CONTAINER_METADATA_URI_V4": "http://h/v4/id"}
    assert Settings.from_env({**firelens, **environ}, **chosen).firelens_tag is is_awaited


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("h", "x", "FLUENT_PORT: 'x' is not allowed; give a port, 1 to 65535"),
        ("::1", "65536", "FLUENT_PORT: '65536' is not allowed; give a port, 1 to 65535"),
        ("a b", "1", "FLUENT_HOST: 'a b' is not allowed; give a host's name or address"),
        ("tcp://x", "", "FLUENT_HOST: 'tcp://x' is not allowed; give a host's name or address"),
    ],
)
def test_what_firelens_does_not_set_so_is_named(host: str, port: str, told: str) -> None:
    environ = {"FLUENT_HOST": host, "FLUENT_PORT": port}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert str(caught.value) == told
    assert Settings.from_env(environ, endpoints="tcp://a:1").endpoints[0].host == "a"
