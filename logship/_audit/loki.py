"""What a query of Loki finds, as an output of a sidecar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from logship._audit.asking import Server, understanding
from logship._audit.sources import CannotRead
from logship._audit.timed import TimedPart

PAGE_LINES: Final = 5000
"""Loki's own limit, `max_entries_limit_per_query`."""
RANGE_SECONDS: Final = 30 * 86_400
"""Loki's own limit, `max_query_length`."""
_MILLISECOND_NS: Final = 1_000_000


class Query:
    """The lines of the streams that a query selects.

    Args:
        name: `loki+https://HOST[:PORT]?query={service_name="web"}`.
    """

    def __init__(self, name: str) -> None:
        self._server = Server(name.removeprefix("loki+"))
        queries = parse_qs(urlsplit(name).query).get("query", [])
        if len(queries) != 1:
            text = 'give ?query={service_name="…"}, once'
            raise CannotRead(f"cannot read {self._server.address}: {text}")
        [self._query] = queries
        self.name = f"{self._server.address}?query={self._query}"

    def parts(self) -> list[TimedPart]:
        """Return all lines as one part: Loki does not say what is removed."""
        return [TimedPart("all", self.name, self._fetch)]

    def _fetch(self, milliseconds: int) -> Iterator[tuple[int, bytes]]:
        oldest_ns = time.time_ns() - RANGE_SECONDS * 1_000_000_000
        start_ns = max(milliseconds * _MILLISECOND_NS, oldest_ns)
        seen: set[str] = set()  # lines of the last nanosecond, which the next page repeats
        while page := self._page(start_ns):
            for at_ns, line in page:
                if at_ns > start_ns:
                    start_ns, seen = at_ns, set()
                if line not in seen:
                    yield at_ns // _MILLISECOND_NS, line.encode("utf-8", "replace")
                seen.add(line)
            if len(page) < PAGE_LINES:
                return
            if page[0][0] == start_ns:
                raise CannotRead(f"cannot read {self.name}: too many lines at {start_ns} ns")

    def _page(self, start_ns: int) -> list[tuple[int, str]]:
        question = {
            "query": self._query,
            "start": start_ns,
            "limit": PAGE_LINES,
            "direction": "forward",
        }
        answer: Any = self._server.ask(f"/loki/api/v1/query_range?{urlencode(question)}")
        with understanding(self.name):
            streams = answer["data"]["result"]
            return sorted((int(at), line) for each in streams for at, line, *_ in each["values"])
