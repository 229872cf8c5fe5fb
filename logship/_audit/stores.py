"""Outputs that an HTTP server keeps: indices of OpenSearch or Elasticsearch, lines of Loki."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import netrc
import time
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from logship._audit.outputs import TimedPart
from logship._audit.sources import CannotRead

TIMEOUT_SECONDS: Final = 30.0
REASON_BYTES_MAX: Final = 300


class Server:
    """A server, and what it is asked with.

    Args:
        address: `http://` or `https://`. A user and a password may stand before the host, where
            `ps` shows them; without, they are looked up in `~/.netrc`.

    Attributes:
        address: Without user and password.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{host}"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        known = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        if known or (known := _from_netrc(parts.hostname or "")):
            secret = base64.b64encode(":".join(known).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def ask(
        self, path: str, body: Any = None, method: str | None = None, if_missing: Any = None
    ) -> Any:
        """Return the answer.

        Args:
            path: Path and query.
            body: What to send, if anything.
            method: By default GET, and POST with a body.
            if_missing: The answer to take where the server says that there is no such thing.

        Raises:
            CannotRead: There is no answer, or it is an error.
        """
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.address}{path}"
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            reason = _reason(error)
            if error.code == HTTPStatus.NOT_FOUND and if_missing is not None:
                return if_missing
            text = f"cannot read {self.address}: {error.code} {error.reason}: {reason}"
            raise CannotRead(text) from error
        except (OSError, HTTPException, ValueError) as error:
            raise CannotRead(f"cannot read {self.address}: {error}") from error


def _reason(error: HTTPError) -> str:
    with error, contextlib.suppress(OSError, HTTPException):
        return error.read(REASON_BYTES_MAX).decode("utf-8", "replace")
    return "no reason"


@contextlib.contextmanager
def understanding(name: str) -> Iterator[None]:
    """Turn what comes of an answer without its fields into an error that names the source."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CannotRead(f"cannot read {name}: an answer of another form ({error!r})") from error


def _from_netrc(host: str) -> tuple[str, str] | None:
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        if found := netrc.netrc().authenticators(host):
            return found[0], found[2] or ""
    return None


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
        since = {"gte": milliseconds, "format": "epoch_millis"}
        question = {
            "size": PAGE_HITS,
            "sort": ["_doc"],
            "query": {"range": {"@timestamp": since}},
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
        query = urlsplit(name).query.replace("+", "%2B")  # as in ".+"; it is no form's blank
        queries = parse_qs(query).get("query", [])
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
