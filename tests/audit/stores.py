"""Stand-ins for OpenSearch and Loki: what they answer to a search, and nothing that they refuse.

Written from their references: the scroll API and `_cat/indices` of OpenSearch 2 and of
Elasticsearch 8, and `query_range` of Loki 3 with its default limits.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class Refused(Exception):  # noqa: N818 - it says what happened
    """What a server answers with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Store:
    """A server on a port of its own; `answer` is its API.

    Attributes:
        asked: Method and path of each request.
    """

    def __init__(self, user: str = "") -> None:
        self.asked: list[str] = []
        self._user = user
        store = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, answer = store._answer(
                    self.command, self.path, body, self.headers.get("Authorization", "")
                )
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the base class calls them

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        yield
        self._server.shutdown()
        thread.join()
        self._server.server_close()

    def _answer(self, method: str, path: str, body: Any, secret: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        try:
            if self._user and secret != f"Basic {base64.b64encode(self._user.encode()).decode()}":
                raise Refused(401, "who are you?")
            address = urlsplit(path)
            query = {name: value for name, [value] in parse_qs(address.query).items()}
            return 200, self.answer(method, unquote(address.path), query, body)
        except Refused as error:
            return error.status, {"error": str(error), "status": error.status}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Return the answer, or raise `Refused`."""
        raise NotImplementedError


class OpenSearch(Store):
    """Attributes: indices: Documents by index, each with its `@timestamp` in milliseconds."""

    def __init__(self, user: str = "") -> None:
        super().__init__(user)
        self.indices: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        self.scrolls: dict[str, list[Any]] = {}
        self._next = 0

    def put(self, index: str, *documents: Any, milliseconds: int = 1_700_000_000_000) -> None:
        self.indices[index] += [(milliseconds, each) for each in documents]

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if match := re.fullmatch(r"GET /_cat/indices/([^/]+)", f"{method} {path}"):
            assert query == {"format": "json", "h": "index", "expand_wildcards": "open"}
            return self._cat(match[1])
        if path == "/_search/scroll":
            return self._scroll(method, body)
        if match := re.fullmatch(r"POST /([^/_][^/]*)/_search", f"{method} {path}"):
            return self._search(match[1], query, body)
        raise Refused(400, f"no handler found for uri [{path}] and method [{method}]")

    def _cat(self, pattern: str) -> Any:
        found = [name for name in self.indices if fnmatch.fnmatchcase(name, pattern)]
        if not found and "*" not in pattern:
            raise Refused(404, f"no such index [{pattern}]")
        return [{"index": name} for name in found]

    def _search(self, index: str, query: dict[str, str], body: Any) -> Any:
        assert query == {"scroll": "60s"}
        assert body.keys() == {"size", "sort", "query", "docvalue_fields"}
        assert body["size"] <= 10_000
        [(field, bounds)] = body["query"]["range"].items()
        assert (field, bounds["format"]) == ("@timestamp", "epoch_millis")
        assert body["docvalue_fields"] == [{"field": field, "format": "epoch_millis"}]
        if index not in self.indices:
            raise Refused(404, f"no such index [{index}]")
        hits = [
            {"_index": index, "_source": source, "fields": {field: [f"{at}.123"]}}
            for at, source in self.indices[index]
            if at >= bounds["gte"]
        ]
        return self._page(hits, body["size"])

    def _scroll(self, method: str, body: Any) -> Any:
        hits = self.scrolls.pop(body["scroll_id"], None)
        if hits is None:
            raise Refused(404, "No search context found")
        return {"succeeded": True} if method == "DELETE" else self._page(hits, 1000)

    def _page(self, hits: list[Any], size: int) -> Any:
        self._next += 1
        self.scrolls[f"scroll{self._next}"] = hits[size:]
        return {
            "_scroll_id": f"scroll{self._next}",
            "timed_out": False,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"hits": hits[:size]},
        }


class Loki(Store):
    """Attributes: streams: Times in nanoseconds and lines, by the value of `service_name`."""

    def __init__(self, user: str = "") -> None:
        super().__init__(user)
        self.streams: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def put(self, service: str, at_ns: int, *lines: str) -> None:
        self.streams[service] += [(at_ns, line) for line in lines]

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        assert (method, path, body) == ("GET", "/loki/api/v1/query_range", None)
        assert query.keys() == {"query", "start", "limit", "direction"}
        assert query["direction"] == "forward"
        match = re.fullmatch(r'\{service_name=~?"([^"]*)"\}', query["query"])
        if match is None:
            raise Refused(400, "parse error")
        start, limit = int(query["start"]), int(query["limit"])
        if limit > 5000:
            raise Refused(400, "max entries limit per query exceeded")
        if time.time_ns() - start > (30 * 24 + 1) * 3_600_000_000_000:
            raise Refused(400, "the query time range exceeds the limit")
        found = sorted(
            (at_ns, service, line)
            for service, lines in self.streams.items()
            if re.fullmatch(match[1], service)
            for at_ns, line in lines
            if at_ns >= start
        )
        values: dict[str, list[Any]] = defaultdict(list)
        for at_ns, service, line in found[:limit]:
            values[service].append([str(at_ns), line])
        result = [{"stream": {"service_name": s}, "values": v} for s, v in values.items()]
        return {"status": "success", "data": {"resultType": "streams", "result": result}}
