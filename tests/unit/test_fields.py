"""Fields on every record: constant ones, those of a context and a span, names, time, level."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections import Counter, UserDict
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import logship
from logship._client.identity import identity_fields, task_fields
from logship._ecs.task import Task, TaskContainer
from logship._installation.handler import Handler, severity_number
from logship._installation.tracing import CurrentSpan
from logship._protocol import plain
from logship._protocol.entries import TRUNCATED_KEY
from logship.testing import Sidecar
from tests.support.threads import in_threads
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_background_client, a_client
from tests.unit.interruptions import Interruption, interrupted_by_a_handler

TIME_NS = 1_700_000_000_123_456_789


@pytest.fixture(autouse=True)
def _no_name_is_kept_out_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a name of a constant field here takes the longer way in all tests of this process."""
    monkeypatch.setattr(plain, "_KEPT_OUT", set())


def shipped(record: Any, *, settings: dict[str, Any], time_ns: int = TIME_NS) -> dict[str, Any]:
    """Return what a record becomes on its way to the sidecar, without its stamp."""
    sidecar = Sidecar()
    client = a_background_client(sidecar, **settings)
    assert client.emit(record, time_ns=time_ns)
    assert client.close(timeout=60).all_acked
    return fields_of(sidecar)[0]


def records_of(sidecar: Sidecar) -> list[dict[str, Any]]:
    return [each.record for each in list(sidecar.delivered)]


def fields_of(sidecar: Sidecar) -> list[dict[str, Any]]:
    records = [each.record for each in sidecar.delivered]
    ours = [record for record in records if "logship_end" not in record]
    return [{k: v for k, v in each.items() if k != "logship_id"} for each in ours]


CONSTANT = {"service.name": "web", "n": 7, "share": 0.5, "on": True, "none": None}


@pytest.mark.parametrize("count", [0, 1, 10, 11, 14, 15, 16, 70_000])
def test_constant_fields_are_in_records_of_every_size(count: int) -> None:
    record = {f"field {number}": number for number in range(count)}
    settings = {"fields": CONSTANT, "buffer_bytes_max": 1 << 23}
    for given in (record, dict(record)):  # names are known the second time
        assert shipped(given, settings=settings) == {**CONSTANT, **record}


def test_so_many_constant_fields_that_no_small_map_holds_them() -> None:
    fields = {f"constant {number}": number for number in range(300)}
    record = {"message": "m"}
    for _ in range(2):
        assert shipped(record, settings={"fields": fields}) == {**fields, **record}


def test_control_records_have_the_constant_fields_and_no_others(sidecar: Sidecar) -> None:
    """So a destination that is filtered by service keeps the proof."""
    client = a_background_client(
        sidecar,
        fields={"service": "web", "message": "m", "logship_end": 1},
        redact=lambda record: None if record["message"] == "hidden" else record,
        high_water_seconds=0.05,
    )
    with logship.context(request="7f3a"):
        client.emit({"message": "hidden"})
        client.emit({"message": "shown"})
        wait_until(
            lambda: any("logship_high_water" in each for each in records_of(sidecar)),
            "a high-water record has come",
        )
        assert client.close(timeout=10).all_acked
    for key in ("logship_gap", "logship_end", "logship_high_water"):
        record = next(each for each in records_of(sidecar) if key in each)
        assert record["service"] == "web"
        assert record["message"].startswith("logship: ")
        assert "request" not in record


def test_secrets_in_constant_fields_are_not_in_control_records(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, fields={"password": "hunter2"}, redact="default")
    client.emit({"message": "m"})
    client.close(timeout=10)
    assert [each["password"] for each in records_of(sidecar)] == ["[redacted]", "[redacted]"]


def test_a_records_own_field_wins_and_is_there_once(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, fields={"env": "prod", "a": 1})
    for number in range(3):
        client.emit({"message": "m", "env": number})
    client.emit({"message": "m"})
    client.close(timeout=10)
    assert [each["env"] for each in fields_of(sidecar)] == [0, 1, 2, "prod"]


@pytest.mark.parametrize("record", ["text", None, 5, ["a"], {"x": object}, {"o": {1, 2}}, {5: 6}])
def test_constant_fields_are_in_odd_records_too(record: Any) -> None:
    found = shipped(record, settings={"fields": {"env": "prod"}})
    assert found.pop("env") == "prod"
    assert found == shipped(record, settings={})


def test_a_field_of_ours_cannot_be_forged_by_a_setting() -> None:
    found = shipped({"message": "m"}, settings={"fields": {"logship_end": True, "a": 1}})
    assert found == {"app_logship_end": True, "a": 1, "message": "m"}


def test_a_record_that_is_cut_keeps_its_constant_fields() -> None:
    found = shipped({"message": "x" * 100_000}, settings={"fields": {"env": "prod"}})
    assert found["env"] == "prod"
    assert found[TRUNCATED_KEY] is True


# -- context ---------------------------------------------------------------------------------------


def test_a_context_ends_with_its_block_and_the_inner_one_wins(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, fields={"a": 0})
    client.emit({"n": 1})
    with logship.context(a=1, b=1):
        client.emit({"n": 2})
        with logship.context(b=2, c=2):
            client.emit({"n": 3, "c": 3})
        client.emit({"n": 4})
    client.emit({"n": 5})
    client.close(timeout=10)
    assert fields_of(sidecar) == [
        {"a": 0, "n": 1},
        {"a": 1, "b": 1, "n": 2},
        {"a": 1, "b": 2, "c": 3, "n": 3},
        {"a": 1, "b": 1, "n": 4},
        {"a": 0, "n": 5},
    ]


@pytest.mark.parametrize("settings", [{}, {"redact": "default"}, {"rename": {"x": "y"}}], ids=str)
def test_odd_records_and_odd_contexts_meet(sidecar: Sidecar, settings: dict[str, Any]) -> None:
    client = a_background_client(sidecar, **settings)
    with logship.context(request=object, logship_end=1):
        for record in ("text", {"a": {1}}, {"message": "m"}):
            client.emit(record)  # type: ignore[arg-type]
    client.close(timeout=10)
    found = fields_of(sidecar)
    assert [each.get("message") for each in found] == ["text", None, "m"]
    assert all("object" in each["request"] and each["app_logship_end"] == 1 for each in found)


class Interrupted(UserDict[str, Any]):
    """A mapping that a signal interrupts while it is read for the first time."""

    was_read = False

    def __iter__(self) -> Iterator[str]:
        if not self.was_read:
            self.was_read = True
            interrupted_by_a_handler()
        return super().__iter__()


def test_what_a_handler_raises_in_a_record_of_a_context_passes(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, rename={"level": "severity"})
    with logship.context(request=1), pytest.raises(Interruption):
        client.emit(Interrupted())
    client.close(timeout=10)


def test_a_field_of_a_context_may_have_any_name() -> None:
    with logship.context(**{"self": 1, "fields": 2, "http.route": "/"}):
        assert shipped({}, settings={}) == {"self": 1, "fields": 2, "http.route": "/"}


def test_blocks_of_generators_end_in_any_order(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar)

    def generator() -> Iterator[None]:
        with logship.context(request="inner", own=1):
            yield

    one = generator()
    next(one)
    with logship.context(request="outer"):
        del one  # its block ends in the middle of this one
        client.emit({"n": 1})
    client.emit({"n": 2})
    client.close(timeout=10)
    assert fields_of(sidecar) == [{"request": "outer", "n": 1}, {"n": 2}]


def test_a_block_may_end_in_another_context_than_it_began_in() -> None:
    async def generator() -> Any:
        with logship.context(a=1):
            yield

    async def main() -> None:
        one = generator()
        await asyncio.create_task(one.__anext__())
        with pytest.raises(StopAsyncIteration):
            await asyncio.create_task(one.__anext__())

    asyncio.run(main())


@pytest.mark.parametrize("settings", [{}, {"redact": "default", "time_key": "at"}], ids=str)
async def test_no_field_of_one_task_is_in_another_ones_record(settings: dict[str, Any]) -> None:
    sidecar = Sidecar()
    dice = random.Random(5)
    client = a_client(sidecar, buffer_bytes_max=1 << 24, **settings)

    async def request(number: int, pauses: int) -> None:
        with logship.context(request=number):
            for _ in range(pauses):
                await asyncio.sleep(0)
            client.emit({"number": number})

    async with client:
        await asyncio.gather(*(request(number, dice.randrange(4)) for number in range(3_000)))
        client.emit({"number": None})
    found = fields_of(sidecar)
    assert len(found) == 3_001
    assert [each for each in found if each.get("request") != each["number"]] == []


def test_no_field_of_one_thread_is_in_another_ones_record(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, buffer_bytes_max=1 << 24)

    def work(numbers: range) -> None:
        for number in numbers:
            with logship.context(request=number):
                client.emit({"number": number})
            client.emit({"number": None})

    assert in_threads(8, lambda start: work(range(start, 3_000, 8))) == [None] * 8
    client.close(timeout=20)
    found = fields_of(sidecar)
    assert Counter(each["number"] for each in found)[None] == 3_000
    assert [each for each in found if each.get("request") != each["number"]] == []


# -- names, time, level ----------------------------------------------------------------------------


def test_fields_get_other_names_and_none_is_lost() -> None:
    settings = {"rename": {"level": "severity_text", "logger": "name", "absent": "x"}}
    record = {"level": "INFO", "logger": "app", "message": "m"}
    assert shipped(record, settings=settings) == {
        "severity_text": "INFO",
        "name": "app",
        "message": "m",
    }
    taken = {"level": "INFO", "severity_text": "own"}
    assert shipped(taken, settings=settings) == taken


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"time_key": "at"}, "2023-11-14T22:13:20.123456789Z"),
        ({"time_key": "at", "time_format": "epoch"}, TIME_NS / 1e9),
    ],
)
def test_the_time_can_be_a_field(settings: dict[str, Any], expected: object) -> None:
    assert shipped({"m": 1}, settings=settings) == {"at": expected, "m": 1}
    assert shipped({"at": "own"}, settings=settings) == {"at": "own"}


@pytest.mark.parametrize("form", ["iso", "epoch"])
@pytest.mark.parametrize("time_ns", [-(10**18), 10**21, 10**40, 10**400, 0, 1.5, "now"])
def test_no_time_is_too_odd_for_a_field(time_ns: Any, form: str) -> None:
    settings = {"time_key": "at", "time_format": form}
    assert "at" in shipped({"m": 1}, settings=settings, time_ns=time_ns)


def test_a_level_has_a_number_beside_it(sidecar: Sidecar) -> None:
    client = a_background_client(sidecar, message_key="log", severity_key="severity_number")
    for handler in (
        Handler(client),
        Handler(client, message_key="text", severity_key="number"),
        Handler(client, severity_key=""),
    ):
        handler.emit(logging.LogRecord("n", logging.ERROR, "", 1, "m", None, None))
    client.close(timeout=10)
    as_set, as_given, without, *_ = fields_of(sidecar)
    assert (as_set["log"], as_set["severity_number"]) == ("m", 17)
    assert (as_given["text"], as_given["number"]) == ("m", 17)
    assert without.keys() == as_set.keys() - {"severity_number"}
    levels = (0, logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL, 1000)
    assert list(map(severity_number, levels)) == [1, 5, 9, 13, 21, 24]


# -- who logs --------------------------------------------------------------------------------------


def test_opentelemetrys_variables_name_the_service() -> None:
    environ = {
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=other, env=a%2Cb,nothing,=x",
        "OTEL_SERVICE_NAME": "web",
    }
    assert identity_fields(("otel",), environ) == {"service.name": "web", "env": "a,b"}
    assert identity_fields(("otel",), {}) == {}


def test_a_pod_is_named_by_its_variables() -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "web-1", "NODE_NAME": "node"}
    found = identity_fields(("kubernetes",), environ)
    assert (found["k8s.pod.name"], found["k8s.node.name"]) == ("web-1", "node")
    assert identity_fields(("kubernetes",), {"HOSTNAME": "laptop"}) == {}


def test_a_task_is_named_by_its_metadata() -> None:
    arn = "arn:aws:ecs:eu-west-1:1:task/shop/0123456789abcdef"
    own = TaskContainer(name="web", image="shop:7", id="cafe")
    found = task_fields(Task(own, cluster="shop", arn=arn, definition="shop:7"))
    assert found == {
        "aws.ecs.cluster.arn": "shop",
        "aws.ecs.task.arn": arn,
        "aws.ecs.task.family": "shop",
        "aws.ecs.task.revision": "7",
        "container.id": "cafe",
        "container.name": "web",
        "container.image.name": "shop:7",
    }
    assert identity_fields(("ecs",), {}) == {}


def test_the_first_source_wins_and_a_setting_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=given,process.pid=1")
    settings = {"identity": "otel,host", "fields": {"process.pid": "own"}}
    assert shipped({}, settings=settings) == {"host.name": "given", "process.pid": "own"}
    assert identity_fields(("host", "otel"), os.environ)["process.pid"] == str(os.getpid())


# -- what is refused -------------------------------------------------------------------------------


def refused(record: Any, stderr: Stderr, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what stderr has of a record that is logged after the end."""
    client = a_background_client(Sidecar(), stderr, **settings)
    client.close(timeout=10)
    client.write_refused(record, None, None)
    (line,) = stderr.json("refused")
    found: dict[str, Any] = line["record"]
    return found


def test_a_refused_record_has_the_same_fields_on_stderr(stderr: Stderr) -> None:
    settings = {"fields": {"env": "prod"}, "rename": {"level": "severity"}}
    with logship.context(request=7):
        found = refused({"message": "late", "level": "INFO"}, stderr, settings)
    assert found == {"env": "prod", "request": 7, "message": "late", "severity": "INFO"}


@pytest.mark.parametrize("settings", [{}, {"redact": "default"}], ids=str)
def test_a_refused_record_has_no_field_of_ours_on_stderr(
    stderr: Stderr, settings: dict[str, Any]
) -> None:
    record = {"id": "a", "logship_id": "forged", "logship_gap": [1, 2, "x"], 1: float("nan")}
    assert refused(record, stderr, {"stamp_key": "id", **settings}) == {
        "app_id": "a",
        "app_logship_id": "forged",
        "app_logship_gap": [1, 2, "x"],
        "1": "NaN",
    }


# -- OpenTelemetry's current span ------------------------------------------------------------------

TRACE_ID, SPAN_ID = 0xABC, 0xDEF


@pytest.fixture
def opentelemetry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in the place of OpenTelemetry's, without a span yet."""
    module = ModuleType("opentelemetry.trace")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return module


def _enter_span(module: ModuleType, *, is_valid: bool = True) -> None:
    context = SimpleNamespace(trace_id=TRACE_ID, span_id=SPAN_ID, is_valid=is_valid)
    module.get_current_span = lambda: SimpleNamespace(  # type: ignore[attr-defined]
        get_span_context=lambda: context
    )


def _fields(**given: Any) -> dict[str, Any]:
    fields = dict(given)
    span = CurrentSpan()
    span.look(0)
    if span.trace is not None:
        span.add_to(fields)
    return fields


def test_nothing_where_opentelemetry_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert _fields() == {}
    assert "opentelemetry.trace" not in sys.modules


def test_the_ids_are_hexadecimal_at_full_width(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry)
    assert _fields() == {"trace_id": "0" * 29 + "abc", "span_id": "0" * 13 + "def"}


def test_nothing_outside_a_span(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry, is_valid=False)
    assert _fields() == {}


def test_what_the_application_gave_stands(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry)
    assert _fields(trace_id="mine")["trace_id"] == "mine"


def test_a_module_that_is_half_imported_is_no_error(opentelemetry: ModuleType) -> None:
    del opentelemetry
    assert _fields() == {}
