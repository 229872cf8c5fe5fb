"""Indices of OpenSearch or Elasticsearch as an output of a sidecar."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlsplit

from logship._audit.asking import Server, understanding
from logship._audit.sources import CannotRead
from logship._audit.timed import TimedPart

PAGE_HITS: Final = 1000
SCROLL_SECONDS: Final = 60
"""How long the server remembers a scroll between two pages."""


class Indices:
    """The indices that a name or a pattern names.

    Args:
        name: `opensearch+https://HOST[:PORT]/INDEX`; INDEX may be a pattern such as `logs-*`.
    """

    def __init__(self, name: str) -> None:
        address = urlsplit(name)
        self._server = Server(name.removeprefix("opensearch+"))
        self._pattern = address.path.strip("/")
        self.name = f"{self._server.address}/{self._pattern}"

    def parts(self) -> Iterator[TimedPart]:
        """Yield each index that is there."""
        path = f"/_cat/indices/{quote(self._pattern, safe='*,')}?format=json&h=index"
        rows = self._server.ask(f"{path}&expand_wildcards=open", if_missing=[])
        with understanding(self.name):
            for index in [row["index"] for row in rows]:
                fetch = functools.partial(self._fetch, index)
                yield TimedPart(index, f"{self._server.address}/{index}", fetch)

    def _fetch(self, index: str, milliseconds: int) -> Iterator[tuple[int, bytes]]:
        with understanding(self.name):
            yield from self._scroll(index, milliseconds)

    def _scroll(self, index: str, milliseconds: int) -> Iterator[tuple[int, bytes]]:
        """Scroll through the documents: a scroll sees one state of the index."""
        time = {"gte": milliseconds, "format": "epoch_millis"}
        question = {
            "size": PAGE_HITS,
            "sort": ["_doc"],
            "query": {"range": {"@timestamp": time}},
            "docvalue_fields": [{"field": "@timestamp", "format": "epoch_millis"}],
        }
        page = self._page(f"/{quote(index)}/_search?scroll={SCROLL_SECONDS}s", question)
        while hits := page["hits"]["hits"]:
            yield from map(_line_of, hits)
            more = {"scroll": f"{SCROLL_SECONDS}s", "scroll_id": page["_scroll_id"]}
            page = self._page("/_search/scroll", more)
        self._server.ask("/_search/scroll", {"scroll_id": page["_scroll_id"]}, "DELETE")

    def _page(self, path: str, question: Any) -> Any:
        """Return a page that lacks nothing: without a shard, the status is 200 all the same."""
        page = self._server.ask(path, question)
        failed = page["_shards"]["failed"]
        if failed or page["timed_out"]:
            raise CannotRead(f"cannot read {self.name}: {failed} shards failed, or time ran out")
        return page


def _line_of(hit: Any) -> tuple[int, bytes]:
    [milliseconds] = hit["fields"]["@timestamp"]
    return int(float(milliseconds)), json.dumps(hit["_source"]).encode()
