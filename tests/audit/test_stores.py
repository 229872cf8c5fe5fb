"""OpenSearch and Loki as outputs, against stand-ins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship._audit.outputs import LATE_MILLISECONDS
from tests.audit.asking import audit
from tests.audit.lines import compact, end, records
from tests.audit.stores import Loki, OpenSearch
from tests.audit.watched import Watched

NOW_NS = time.time_ns() // 1_000_000 * 1_000_000


@pytest.fixture(autouse=True)
def _no_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def opensearch() -> Iterator[OpenSearch]:
    store = OpenSearch()
    with store.running():
        yield store
    assert not store.scrolls, "each scroll is given back"


@pytest.fixture
def loki() -> Iterator[Loki]:
    store = Loki()
    with store.running():
        yield store


def lines(first: int, last: int) -> list[str]:
    return [compact(each) for each in records(first, last)]


# --- OpenSearch -----------------------------------------------------------------------------------


def test_all_documents_of_the_indices_of_a_pattern_are_read(opensearch: OpenSearch) -> None:
    opensearch.put("web-2026.11.26", *records(1, 2500))
    opensearch.put("web-2026.11.27", *records(2501, 2600), end(2601, 2600))
    opensearch.put("other", *records(1, 1))
    result = audit(f"opensearch+http://{opensearch.host}/web-*", code=0)
    assert result.output.startswith("complete: 2,600 records of 1 stream, all delivered, 0 dupl")


def test_an_index_is_read_on_and_one_that_is_deleted_takes_its_proof(
    opensearch: OpenSearch,
) -> None:
    first, later = 1_700_000_000_000, 1_700_000_000_000 + LATE_MILLISECONDS + 1000
    watched = Watched(f"opensearch+http://{opensearch.host}/web-*")
    assert watched.look() == (0, 0, 0)
    opensearch.put("web-1", *records(1, 3), milliseconds=first)
    opensearch.put("web-1", *records(5, 5), milliseconds=later)
    assert watched.look() == (4, 1, 0)
    opensearch.put("web-1", *records(4, 4), milliseconds=later - LATE_MILLISECONDS)
    opensearch.put("web-2", *records(6, 6), milliseconds=later)
    after = watched.resumed()
    assert after.look() == (6, 0, 0)
    del opensearch.indices["web-1"]
    assert after.look() == (1, 5, 0)
    [said] = after.said
    assert said.endswith("/web-1 is gone; what was in it no longer counts")


def test_an_index_that_is_named_and_not_there_is_no_part(opensearch: OpenSearch) -> None:
    opensearch.put("other", *records(1, 1), end(2, 1))
    known = f"opensearch+http://{opensearch.host}/other"
    result = audit(known, f"opensearch+http://{opensearch.host}/web", code=2)
    assert f"cannot read http://{opensearch.host}/web: nothing is there" in result.output
    watched = Watched(f"opensearch+http://{opensearch.host}/web")
    assert watched.look() == (0, 0, 0)
    [said] = watched.said
    assert said.endswith("/web: nothing is there yet; logship keeps looking")


def test_what_is_read_again_after_its_retention_is_neither_missing_nor_a_duplicate(
    opensearch: OpenSearch,
) -> None:
    watched = Watched(
        f"opensearch+http://{opensearch.host}/web", retention_seconds=100, overdue_seconds=5
    )
    for number, document in enumerate([*records(1, 9), end(10, 9)]):
        at = NOW_NS // 1_000_000 + (number - 10) * LATE_MILLISECONDS // 3
        opensearch.put("web", document, milliseconds=at)
    watched.look()
    for seconds in (100, 1, 10, 10):
        assert watched.look(seconds) == (9, 0, 0)
    del opensearch.indices["web"]
    assert watched.look() == (9, 0, 0)
    assert watched.said == []


@pytest.mark.parametrize("is_known", [False, True])
def test_a_record_from_the_future_hides_none_of_those_that_follow(
    is_known: bool, opensearch: OpenSearch
) -> None:
    now = time.time_ns() // 1_000_000  # not `NOW_NS`: a run of all tests takes long
    address = f"opensearch+http://{opensearch.host}/web"
    watched = Watched(address)
    opensearch.put("web", *records(1, 1), milliseconds=now - 1000)
    opensearch.put("web", *records(2, 2), milliseconds=now + 86_400_000)
    assert watched.look() == (2, 0, 0)
    if is_known:  # as after the clock was set back
        state = watched.watch.state()
        [parts] = state["outputs"].values()
        parts["web"]["position"] = {"newest": now + 86_400_000}
        watched = Watched(address)
        watched.watch.resume(state)
    opensearch.put("web", *records(3, 4), milliseconds=now - 500)
    assert watched.look() == (4, 0, 0)


@pytest.mark.parametrize("lack", [{"timed_out": True}, {"_shards": {"total": 2, "failed": 1}}])
@pytest.mark.parametrize("page", [1, 2])
def test_an_answer_in_which_a_shard_is_missing_is_none(lack: dict[str, Any], page: int) -> None:
    class Partial(OpenSearch):
        def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
            whole = super().answer(method, path, query, body)
            return {**whole, **lack} if self._next == page and "hits" in whole else whole

    store = Partial()
    store.put("web", *records(1, 1500), end(1501, 1500))
    with store.running():
        result = audit(f"opensearch+http://{store.host}/web", code=2)
    assert "shards failed, or time ran out" in result.output


# --- Loki -----------------------------------------------------------------------------------------


def test_all_lines_of_a_query_are_read_page_by_page(loki: Loki) -> None:
    texts = lines(1, 7000)
    for number in range(0, 7000, 7):  # seven have the same time, also where a page ends
        loki.put("web", NOW_NS - 10**12 + number * 1000, *texts[number : number + 7])
    loki.put("webapp", NOW_NS, compact(end(7001, 7000)))
    loki.put("other", NOW_NS, *lines(1, 1))
    result = audit(f'loki+http://{loki.host}?query={{service_name=~"we.+"}}', code=0)
    assert result.output.startswith("complete: 7,000 records of 1 stream, all delivered, 0 dupl")
    assert len(loki.asked) == 2


def test_lines_that_come_late_are_found(loki: Loki) -> None:
    watched = Watched(f'loki+http://{loki.host}?query={{service_name="web"}}')
    loki.put("web", NOW_NS, *lines(1, 2), *lines(4, 4))
    assert watched.look() == (3, 1, 0)
    loki.put("web", NOW_NS - LATE_MILLISECONDS * 1_000_000, *lines(3, 3))
    assert watched.resumed().look() == (4, 0, 0)


def test_more_lines_of_one_nanosecond_than_a_page_has_are_told(loki: Loki) -> None:
    loki.put("web", NOW_NS, *lines(1, 5001))
    result = audit(f'loki+http://{loki.host}?query={{service_name="web"}}', code=2)
    assert "too many lines at" in result.output


# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["address", "netrc"])
def test_user_and_password_are_sent_and_never_shown(way: str, tmp_path: Path) -> None:
    store = OpenSearch(user="u@x:p w")
    store.put("web", *records(1, 1))
    if way == "netrc":
        netrc = tmp_path / ".netrc"
        netrc.write_text('machine 127.0.0.1 login u@x password "p w"\n')
        netrc.chmod(0o600)
    user = "u%40x:p%20w@" if way == "address" else ""
    with store.running():
        result = audit(f"opensearch+http://{user}{store.host}/web")
        assert result.exit_code == 3, result.output
        store.scrolls.clear()
        wrong = audit(f"opensearch+http://u:secret@{store.host}/web", code=2)
    assert "401" in wrong.output
    assert "secret" not in wrong.output


@pytest.mark.parametrize(
    "address", ["opensearch+http://127.0.0.1:1/web", 'loki+http://127.0.0.1:1?query={a="b"}']
)
def test_a_server_that_is_away_is_told_and_what_is_known_still_counts(address: str) -> None:
    watched = Watched(address)
    assert watched.look() == (0, 0, 0)
    [said] = watched.said
    assert said.startswith("cannot read http://127.0.0.1:1: ")
    assert watched.watch.figures.read_failures == 1


@pytest.mark.parametrize("answer", [None, [], {"data": 7}, {"data": {"result": [{"values": 1}]}}])
def test_an_answer_of_another_form_is_told(answer: Any) -> None:
    class Odd(Loki):
        def answer(self, *_: Any) -> Any:
            return answer

    store = Odd()
    with store.running():
        result = audit(f'loki+http://{store.host}?query={{service_name="web"}}', code=2)
    assert "an answer of another form" in result.output
