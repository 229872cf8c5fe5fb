"""One line a record: valid JSON for whatever a sender's msgpack can hold."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any, NoReturn

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._protocol import jsonlines
from logship._protocol.entries import unpack_entries
from logship._protocol.jsonlines import json_line
from logship._protocol.payloads import payload_lines


def decoded(line: bytes) -> Any:
    """Read a line as strictly as JSON allows."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line.decode("utf-8"), parse_constant=refuse)


def test_the_bytes_of_a_line() -> None:
    line = json_line("app", 5, {"message": "é\n", "n": 1})
    assert line == '{"tag":"app","time_ns":5,"record":{"message":"é\\n","n":1}}\n'.encode()


def test_extra_fields_come_first() -> None:
    line = json_line("app", 5, {}, logship="spilled")
    assert line == b'{"logship":"spilled","tag":"app","time_ns":5,"record":{}}\n'


@pytest.mark.parametrize(
    ("record", "written"),
    [
        ({"a": b"caf\xc3\xa9 \xff"}, {"a": "café \\xff"}),
        ({b"key": 1}, {"key": 1}),
        ({1: {2: 3}}, {"1": {"2": 3}}),
        ({"a": float("nan"), "b": [float("inf")]}, {"a": "NaN", "b": ["Infinity"]}),
        ({float("nan"): 1}, {"nan": 1}),
        ({"a": "\udcff"}, {"a": "\\udcff"}),
        ({"a": msgpack.ExtType(5, b"x")}, {"a": [5, "x"]}),
        ({"a": msgpack.Timestamp(1, 2)}, {"a": "Timestamp(seconds=1, nanoseconds=2)"}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": (1 << 64) - 1}, {"a": (1 << 64) - 1}),
    ],
)
def test_what_json_cannot_say_is_written_readably(record: Any, written: Any) -> None:
    assert decoded(json_line("app", 5, record))["record"] == written


HIDDEN = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))


@pytest.mark.parametrize("is_payload", [False, True])
def test_a_line_is_one_line_for_every_reader_and_no_order_to_a_terminal(is_payload: bool) -> None:
    record = {f"key {HIDDEN}": f"é {HIDDEN} 日本", "bytes": HIDDEN.encode(), "n": "“…”"}
    if is_payload:
        payload = msgpack.packb([msgpack.ExtType(0, bytes(8)), record])
        line, _ = payload_lines(HIDDEN, payload * 20)
        assert line.count(b"\n") == 20
        line = line[: line.index(b"\n") + 1]
    else:
        line = json_line(HIDDEN, 5, record)
    assert not set(HIDDEN) & set(line.decode().removesuffix("\n"))
    assert "“…”" in line.decode()
    written = decoded(line)
    assert (written["tag"], written["record"]["bytes"]) == (HIDDEN, HIDDEN)
    assert written["record"][f"key {HIDDEN}"] == record[f"key {HIDDEN}"]


def test_a_tag_that_is_not_utf_8() -> None:
    assert decoded(json_line("\udcff", 5, {}))["tag"] == "\\udcff"


def test_a_tag_and_a_time_that_an_application_gave_wrong() -> None:
    tag: Any = b"app"
    time_ns: Any = "now"
    assert decoded(json_line(tag, time_ns, {})) == {"tag": "app", "time_ns": "now", "record": {}}


@pytest.mark.parametrize("depth", [60, 500, 1000])
def test_a_record_as_deep_as_msgpack_decodes_is_a_line(depth: int) -> None:
    [(time_ns, record)] = unpack_entries(b"\x92\x00\x81\xa1a" + b"\x91" * depth + b"\x00")
    line = json_line("app", time_ns, record)
    assert line.count(b"[") == line.count(b"]")
    assert line.endswith(b"}}\n")


@pytest.mark.parametrize(("depth", "is_cut"), [(50, False), (100, True), (500, True)])
def test_a_record_that_is_cut_says_so(depth: int, is_cut: bool) -> None:
    payload = b"\x92\x00\x81\xa1a" + b"\x91" * depth + b"\xca\x7f\xc0\x00\x00"
    line, _ = payload_lines("app", payload)
    assert decoded(line)["record"].get("logship_truncated", False) is is_cut


def test_nothing_is_left_out_for_its_size() -> None:
    record = {"a": b"x" * 10_000_000, "b": list(range(200_000))}
    written = decoded(json_line("app", 5, record))["record"]
    assert len(written["a"]) == 10_000_000
    assert written["b"] == record["b"]


msgpack_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
    st.builds(msgpack.ExtType, st.integers(0, 127), st.binary()),
)
msgpack_values = st.recursive(
    msgpack_scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(msgpack_scalars, inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    st.text(st.characters(codec=None)),
    st.integers(),
    st.dictionaries(msgpack_scalars, msgpack_values, max_size=5),
)
def test_any_record_that_msgpack_can_hold_becomes_json(
    tag: str, time_ns: int, record: dict[Any, Any]
) -> None:
    line = decoded(json_line(tag, time_ns, record))
    assert set(line) == {"tag", "time_ns", "record"}
    assert type(line["record"]) is dict


@pytest.fixture
def reloaded_after() -> Iterator[None]:
    yield
    importlib.reload(jsonlines)


@pytest.mark.parametrize("made", [[], [lambda *_: ("something else",)]], ids=["none", "another"])
@pytest.mark.usefixtures("reloaded_after")
def test_a_python_whose_json_has_no_such_encoder_in_c(
    made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = json.encoder.c_make_encoder  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        maker = (lambda *options: made.pop() if made else make(*options)) if made else None
        patch.setattr(json.encoder, "c_make_encoder", maker)
        importlib.reload(jsonlines)
        assert jsonlines.json_text({"é": [1.5, None, "\n"]}) == '{"é":[1.5,null,"\\n"]}'
