"""Metrics for Prometheus: collectors, and an HTTP endpoint that serves them.

prometheus_client is imported in this module alone, because it costs an application's start more
than all the rest of logship. A program without metrics never imports it.
"""

from __future__ import annotations

import contextlib
import io
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from logship import _system
from logship._hooks.threads import OwnThread
from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import BUILD, PAGES_REFUSED, RECEIVER_MEASURES, Kind, Measure
from logship._metrics.sums import Total, slot
from logship._version import __version__

PREFIX = "logship_"

_REQUESTS_MAX = 8
_REQUEST_SECONDS_MAX = 5.0
"""From when it is accepted to the end of the answer."""

_WAIT_SECONDS = 0.2
"""How long no connection is accepted, where none can be served, before it is tried again."""

_FAMILIES = {Kind.COUNTER: CounterMetricFamily, Kind.HISTOGRAM: HistogramMetricFamily}


class _MeasuresCollector(Collector):
    """Measures, and a function that returns the values of each when a scrape asks, or raises."""

    def __init__(
        self, measures: Sequence[Measure], read: Callable[[], Iterable[Sequence[float]]]
    ) -> None:
        self._measures = measures
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without their values, for a registry that checks names."""
        yield from map(_family, self._measures)
        yield _build()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment; none if they cannot be read now.

        A gap in a series is not a counter that fell, and the registry has other metrics as well.
        All values are read before the first is used.
        """
        try:
            values = [*self._read()]
        except OSError:
            return
        yield from map(_filled, self._measures, values)
        yield _build()


class TotalCollector(_MeasuresCollector):
    """The numbers of logship's clients, which `total` returns; it may raise `OSError`."""

    def __init__(self, total: Callable[[], Total]) -> None:
        def read() -> Iterator[Sequence[float]]:
            numbers, refused = total()
            for each in CLIENT_MEASURES:
                yield [numbers[slot(each.name, value)] for value in each.values]
            yield [refused]

        super().__init__((*CLIENT_MEASURES, PAGES_REFUSED), read)


class CountsCollector(_MeasuresCollector):
    """Metrics whose values are the attributes of one object: those of `logship receive`.

    They have no labels. An attribute is named as its measure, but for its first word and `_total`.
    """

    def __init__(self, counts: object, measures: Sequence[Measure] = RECEIVER_MEASURES) -> None:
        names = [each.name.partition("_")[2].removesuffix("_total") for each in measures]
        super().__init__(measures, lambda: ([getattr(counts, name)] for name in names))


def _family(measure: Measure) -> Any:
    """Return the metric without values."""
    labels = [measure.label] if measure.label and measure.kind is not Kind.HISTOGRAM else []
    kind = _FAMILIES.get(measure.kind, GaugeMetricFamily)
    return kind(PREFIX + measure.name, measure.help, labels=labels)


def _filled(measure: Measure, numbers: Sequence[float]) -> Metric:
    family = _family(measure)
    if measure.kind is Kind.HISTOGRAM:
        family.add_metric([], [*zip(measure.values, numbers, strict=True)][:-1], numbers[-1])
    else:
        for value, number in zip(measure.values, numbers, strict=True):
            family.add_metric([value] if measure.label else [], number)
    metric: Metric = family
    return metric


def _build() -> Metric:
    labels = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily(PREFIX + BUILD.name.removesuffix("_info"), BUILD.help, value=labels)


class Endpoint(WSGIServer):
    """Serves metrics over HTTP, on a daemon thread: the classic format, or OpenMetrics if asked.

    It serves a few requests at a time, so that scrapes do not use up the application's threads.

    Args:
        address: As `resolved` returns it.
        port: 0 is any free one.
        collector: What is served.

    Raises:
        OSError: It cannot listen there, or there is no thread for it.
    """

    request_queue_size = 128

    def __init__(self, address: str, port: int, collector: Collector) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._free = threading.BoundedSemaphore(_REQUESTS_MAX)
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__((address, port), _Handler)
        self.set_app(make_wsgi_app(registry))
        self.port: int = self.server_port
        try:
            OwnThread(self.serve_forever, "metrics-endpoint").start()
        except RuntimeError as error:  # out of threads, or at interpreter exit
            self.server_close()
            raise OSError(str(error)) from None

    @property
    def url(self) -> str:
        """Where a scraper finds it."""
        host = self.server_name
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"

    def close_in_child(self) -> None:
        """In a forked child: close the listening socket, unless the parent has closed it."""
        _system.close_own(self.socket.detach(), self._identity)

    def server_bind(self) -> None:
        """Bind without asking a name server for our name, as the base class does."""
        if _system.IS_POSIX:  # on Windows another process would get the same port
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._identity = _system.identity_of(self.fileno())
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection when one request fewer than allowed is served.

        Raises:
            OSError: Too many are served, or there are no descriptors. The connection waits in the
                queue of the socket.
        """
        if not self._free.acquire(timeout=_WAIT_SECONDS):
            raise OSError("too many requests")
        try:
            return super().get_request()
        except OSError:
            self._free.release()
            time.sleep(_WAIT_SECONDS)
            raise

    def service_actions(self) -> None:
        """Shut down connections whose request takes too long; called twice a second."""
        for request, deadline in list(self._deadlines.items()):
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):  # it has just been closed
                    request.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve it on a thread."""
        try:
            OwnThread(partial(self._serve, request, client_address), "metrics-request").start()
        except RuntimeError:  # out of threads, or at interpreter exit
            self._free.release()
            raise

    def _serve(self, request: Any, client_address: Any) -> None:
        self._deadlines[request] = time.monotonic() + _REQUEST_SECONDS_MAX
        try:
            with contextlib.suppress(Exception):  # the scraper went away, or spoke no HTTP
                self.finish_request(request, client_address)
            self.shutdown_request(request)
        finally:
            del self._deadlines[request]
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do nothing: a scraper that went away is not news for the application's stderr."""


class _Handler(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Do nothing."""

    def get_stderr(self) -> io.StringIO:
        """Return where the traceback of a request goes that prometheus_client cannot answer."""
        return io.StringIO()

    def address_string(self) -> str:
        """Return the address without asking a name server."""
        return str(self.client_address[0])


def resolved(host: str) -> str:
    """Return the address of a host; a name server may be asked.

    Raises:
        OSError: It has none.
    """
    with contextlib.suppress(UnicodeError):  # a host that cannot be a name
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return str(found[0][4][0])
    raise OSError(f"{host!r} is not a host name or address")
