"""Shows what is understood of the task metadata, and that nothing else than them harms."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from logship._ecs import reader as reader_module
from logship._ecs.awaited_tag import AwaitedTag, default_tag
from logship._ecs.reader import TaskReader, read_task
from logship._ecs.task import TaskContainer
from logship._settings import TASK_METADATA_VARIABLE, Settings
from tests.support.task_metadata import TASK_ARN, TASK_ID, TaskMetadata, container, task
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.interruptions import every_point

OWN = container("app", mode="blocking")


def test_the_task_as_the_endpoint_tells_it() -> None:
    with TaskMetadata(OWN, task(OWN, container("sidecar"))) as metadata:
        found = read_task(metadata.environ)
    assert found is not None
    assert found.own.log_options == {"mode": "blocking"}
    assert [each.name for each in found.others] == ["sidecar"]
    assert found.fields == {
        "ecs_cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/shop",
        "ecs_task_arn": TASK_ARN,
        "ecs_task_definition": "web:7",
        "ecs_availability_zone": "eu-central-1b",
        "container_id": OWN["DockerId"],
        "container_name": "app",
        "container_image": OWN["Image"],
    }


@pytest.mark.parametrize(
    "body",
    [b"", b"garbage", b"\xff\xfe", b"[" * 100_000, b'{"Name": ', b"null", b"5", b'"x"', b"[]"],
)
def test_garbage_is_no_task(body: bytes) -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.answers["/v4/id"] = body
        assert read_task(metadata.environ) is None
        metadata.answer(OWN, {})
        metadata.answers["/v4/id/task"] = body
        assert read_task(metadata.environ) is None


def test_fields_of_other_types_are_none() -> None:
    names = ["Cluster", "TaskARN", "Family", "Revision", "AvailabilityZone", "Containers"]
    with TaskMetadata(OWN) as metadata:
        metadata.answer(
            {name: [{}] for name in ("Name", "Image", "DockerId", "LogDriver", "LogOptions")},
            {name: {"x": None} for name in names},
        )
        found = read_task(metadata.environ)
    assert found is not None
    assert found.fields == {}
    assert found.own == TaskContainer("")


def test_a_name_that_is_too_long_for_a_tag_is_cut() -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.answer({"Name": "n" * 1_000_000, "LogDriver": "awsfirelens"}, {})
        found = read_task(metadata.environ)
    assert found is not None
    assert found.firelens_tag == f"{'n' * 2048}-firelens-logship"


@pytest.mark.parametrize("containers", [5, ["x"], None])
def test_containers_that_are_none_are_left_out(containers: Any) -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.answer(OWN, {"Containers": containers})
        found = read_task(metadata.environ)
    assert found is not None
    assert not found.others


@pytest.mark.parametrize("status", [404, 429, 500])
def test_an_error_of_the_endpoint_is_no_task(status: int) -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.status = status
        assert read_task(metadata.environ) is None


@pytest.mark.parametrize("is_trickling", [False, True])
def test_an_endpoint_whose_answer_does_not_end_is_given_up(
    monkeypatch: pytest.MonkeyPatch, is_trickling: bool
) -> None:
    monkeypatch.setattr("logship._ecs.reader.TIMEOUT_SECONDS", 0.2)
    with TaskMetadata(OWN) as metadata:
        metadata.is_silent, metadata.is_trickling = not is_trickling, is_trickling
        assert Later(lambda: read_task(metadata.environ)).join() is None
        assert metadata.was_asked.wait(30)


@pytest.mark.parametrize(
    "uri", ["", "ftp://x", "http://127.0.0.1:1/v4", "http://[::1/v4", "http://h:x/", "\0"]
)
def test_an_address_where_nothing_can_answer_is_no_task(uri: str) -> None:
    assert read_task({TASK_METADATA_VARIABLE: uri}) is None


def test_outside_of_ecs_nothing_is_asked_and_no_thread_begun() -> None:
    reader = TaskReader({TASK_METADATA_VARIABLE: ""})
    before = threading.enumerate()
    reader.start()
    assert threading.enumerate() == before
    assert reader.is_over


def a_reader_that_asks(metadata: TaskMetadata) -> TaskReader:
    """Return a reader whose first request has come."""
    reader = TaskReader(metadata.environ)
    reader.start()
    assert metadata.was_asked.wait(30)
    return reader


def test_a_child_reads_what_its_parent_had_only_begun_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.is_silent = True
        reader = a_reader_that_asks(metadata)
        metadata.is_silent = False
        in_child = os.getpid() + 1
        monkeypatch.setattr(os, "getpid", lambda: in_child)
        assert not reader.is_over
        reader.start()
        wait_until(lambda: reader.task is not None, "the task is known")
        assert reader.is_over


def test_an_endpoint_that_fails_at_first_is_asked_again() -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.status = 500
        reader = a_reader_that_asks(metadata)
        assert not reader.is_over
        told = threading.Event()
        reader.when_over(told.set)
        metadata.status = 200
        assert told.wait(30)
        assert reader.task is not None


def test_a_client_that_waited_for_the_task_can_go_when_it_is_known() -> None:
    class Client:
        def wake(self) -> None:
            self.is_awake = True

    def client_of(reader: TaskReader) -> weakref.ref[Client]:
        client = Client()
        reader.when_over(client.wake)
        return weakref.ref(client)

    assert client_of(TaskReader({}))() is None
    with TaskMetadata(OWN) as metadata:
        metadata.is_silent = True
        reader = a_reader_that_asks(metadata)
        client = client_of(reader)
        assert client() is not None
        metadata.is_silent = False
        wait_until(lambda: client() is None, "the client is gone")


def test_clients_that_begin_at_the_same_moment_are_all_told() -> None:
    readers: list[TaskReader] = []
    wait_for: list[str] = []
    told: list[str] = []

    def wait(who: str) -> None:
        wait_for.append(who)
        readers[-1].start()
        readers[-1].when_over(lambda: told.append(who))

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        readers.append(TaskReader(metadata.environ))
        wait_for.clear()
        told.clear()
        return lambda: wait("one"), lambda: Later(lambda: wait("another")).join()

    with TaskMetadata(OWN) as metadata:
        for run in every_point(prepare, room=reader_module.__file__):
            run()
            wait_until(lambda: {*told} == {*wait_for}, "all are told")
            assert readers[-1].task is not None


def test_one_that_goes_on_failing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logship._ecs.reader.TASK_SECONDS_MAX", 0.0)
    with TaskMetadata(OWN) as metadata:
        metadata.status = 500
        reader = a_reader_that_asks(metadata)
        wait_until(lambda: reader.is_over, "it is given up")
    assert reader.task is None


FIRELENS = container("app", "awsfirelens")
BESIDE = container("other", "awsfirelens")


@pytest.mark.parametrize(
    ("own", "others", "tag", "word"),
    [
        (FIRELENS, [], f"app-firelens-{TASK_ID}", ""),
        (container("app", None), [], f"app-firelens-{TASK_ID}", ""),
        (container("app"), [BESIDE], "web", f"LOGSHIP_TAG=other-firelens-{TASK_ID}"),
        (container("app"), [container("sidecar")], "web", ""),
    ],
    ids=["routed", "of an old agent", "not routed", "no FireLens"],
)
def test_the_default_tag_of_a_task(
    own: dict[str, Any], others: list[dict[str, Any]], tag: str, word: str
) -> None:
    with TaskMetadata(own, task(own, *others)) as metadata:
        found = read_task(metadata.environ)
    chosen, warning = default_tag(Settings(tag="web", firelens_tag=True), found)
    assert chosen == tag
    assert word in warning
    assert bool(word) == bool(warning)
    assert default_tag(Settings(tag="web"), found) == ("web", "")


def test_without_metadata_there_is_no_default_tag_and_a_warning() -> None:
    chosen, warning = default_tag(Settings(tag="web", firelens_tag=True), None)
    assert chosen is None
    assert "metadata do not answer" in warning


def test_a_drain_waits_for_a_part_of_its_budget_only() -> None:
    with TaskMetadata(OWN) as metadata:
        metadata.is_silent = True
        awaited = AwaitedTag(Settings(), TaskReader(metadata.environ), may_adopt=True)
        awaited.begin(100.0, lambda: None)
        assert not awaited.is_due(104.9)
        awaited.limit(100.0, 2.0)
        assert not awaited.is_due(100.2)
        assert awaited.is_due(100.4)
        awaited.limit(101.0, 30.0)
        assert awaited.is_due(100.4), "a longer budget takes nothing back"
