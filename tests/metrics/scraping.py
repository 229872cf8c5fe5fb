"""Scrapes an endpoint as Prometheus does, and reads the text with prometheus_client's parser.

Nothing of logship's is imported: what is shown is what a stranger sees.
"""

from __future__ import annotations

import os
import re
import threading
import urllib.request
from http.client import HTTPException
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from tests.support.programs import Program
from tests.support.waiting import wait_until

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

SERVED_ON = re.compile(r"metrics are served on http://127\.0\.0\.1:(\d+)/metrics")
"""What a program says that was told to serve on any free port."""

DRAINED = 'logship_processes_ended_total{result="drained"}'
KILLED = 'logship_processes_ended_total{result="killed"}'

as_another_user = pytest.mark.skipif(
    os.geteuid() != 0 or not all(p.stat().st_mode & 0o001 for p in Path(os.__file__).parents),
    reason="needs root, and a Python that another user may read",
)

Samples = dict[str, float]
"""Values by name and labels, as `logship_connects_total{result="ok"}`."""

LOG_UNTIL_TOLD = """
    client = logship.install(level="INFO")
    log(times=100)
    client.flush(20)
    ready()
    wait_for("end")
"""
"""A program whose records are all delivered, and which ends when it is told to."""


def fetch(port: int, accept: str = "", path: str = "/metrics") -> tuple[str, str]:
    """Return an endpoint's content type and text.

    Raises:
        OSError: There is no answer.
        HTTPException: The answer was cut off.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Accept": accept} if accept else {}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        if "Content-Length" not in answer.headers:
            raise HTTPException("the answer was cut off in its headers: who served has ended")
        return answer.headers["Content-Type"], answer.read().decode()


def scrape(port: int, accept: str = "") -> Samples:
    """Return what an endpoint says now; see `fetch`."""
    kind, text = fetch(port, accept)
    return parsed(text, openmetrics="openmetrics" in kind)


def parsed(text: str, *, openmetrics: bool = False) -> Samples:
    """Return the samples of a text; one that is there twice is an error.

    Raises:
        ValueError: It is not well-formed.
    """
    samples: Samples = {}
    families = parse_openmetrics(text) if openmetrics else parse_classic(text)  # type: ignore[no-untyped-call]
    for family in families:
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            if key in samples:
                raise ValueError(f"{key} is there twice")
            samples[key] = sample.value
    return samples


def port_said_by(program: Program) -> int:
    """Wait until a program says where it serves, and return that."""
    program.until_true(lambda: SERVED_ON.search(program.stderr) is not None, "a port is said")
    found = SERVED_ON.search(program.stderr)
    assert found
    return int(found[1])


def wait_for_samples(port: int, key: str, value: float) -> Samples:
    """Wait until an endpoint says so, and return all of what it says."""
    last: Samples = {}

    def says() -> bool:
        nonlocal last
        try:
            last = scrape(port)
        except (OSError, HTTPException):
            return False
        return last.get(key) == value

    wait_until(says, f"{key} is {value}: {last}")
    return last


def is_counter(key: str) -> bool:
    """Tell whether a sample must never go down."""
    name = key.partition("{")[0]
    return name.endswith(("_total", "_bucket", "_count"))


class Scraper:
    """Scrapes a port ten times a second and more, on a thread, until it is told to stop.

    Attributes:
        last: What it read last; empty before it read anything.
        went_down: Counters that were lower than before, as (sample, before, now).
        scrapes: How often it was answered.
    """

    def __init__(self, port: int) -> None:
        self.last: Samples = {}
        self.went_down: list[tuple[str, float, float]] = []
        self.scrapes = 0
        self._port = port
        self._failure: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        assert self._failure is None, f"a scrape could not be read: {self._failure!r}"

    def value(self, key: str) -> float:
        """Return a sample of the last scrape; -1 where it was not there."""
        return self.last.get(key, -1.0)

    def until_shown(self, key: str, value: float) -> None:
        """Wait until the endpoint shows a value."""
        try:
            wait_until(lambda: self.value(key) == value, f"{key} is {value}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.last}") from None

    def _run(self) -> None:
        while not self._stopped.wait(0.02) and self._failure is None:
            try:
                self._take(scrape(self._port))
            except (OSError, HTTPException):
                continue  # no process serves yet, or it ended during the scrape
            except Exception as error:  # noqa: BLE001 - told where the test can see it
                self._failure = error

    def _take(self, samples: Samples) -> None:
        for key, before in self.last.items():
            now = samples.get(key, 0.0)
            if is_counter(key) and now < before:
                self.went_down.append((key, before, now))
        self.last = samples
        self.scrapes += 1
