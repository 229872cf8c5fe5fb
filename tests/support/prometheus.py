"""A real Prometheus that scrapes what a test says, and the questions that tests ask it."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError

from tests.support.servers import ReservedPort

Labels = Mapping[str, str]


def why_no_prometheus() -> str:
    return "" if shutil.which("prometheus") else "there is no prometheus on PATH"


def why_no_promtool() -> str:
    return "" if shutil.which("promtool") else "there is no promtool on PATH"


class Prometheus:
    """A Prometheus of its own; a context manager that ends it.

    Args:
        directory: For its configuration, its data and its log.
        targets: Address and labels of each target; `job` is one of them.
        rules: Its rule files.
        scrape_seconds: From one scrape to the next, which is also how long one may take.
        options: More words of its command line.
    """

    def __init__(
        self,
        directory: Path,
        targets: Mapping[str, Labels],
        *,
        rules: Sequence[Path] = (),
        scrape_seconds: float = 0.25,
        options: Sequence[str] = (),
    ) -> None:
        self._port = ReservedPort()
        configuration = directory / "prometheus.json"  # which is YAML as well
        configuration.write_text(json.dumps(_configuration(targets, rules, scrape_seconds)))
        words = [
            f"--config.file={configuration}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port.number}",
            *options,
        ]
        self._log = directory / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(["prometheus", *words], stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._port.close()

    def series(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series of the answer; nothing while it starts."""
        result = self._get("query", query=expression).get("result", [])
        return [(each["metric"], float(each["value"][1])) for each in result]

    def values(self, expression: str) -> list[float]:
        return [value for _, value in self.series(expression)]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that fire or are pending now."""
        alerts: list[dict[str, Any]] = self._get("alerts").get("alerts", [])
        return alerts

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with what its last evaluation came to."""
        groups = self._get("rules").get("groups", [])
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, what: str, **query: str) -> dict[str, Any]:
        assert self._process.poll() is None, f"prometheus has ended:\n{self._log.read_text()}"
        url = f"http://127.0.0.1:{self._port.number}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as said:
                data: dict[str, Any] = json.load(said)["data"]
        except HTTPError as answer:  # it is not ready yet
            answer.close()
            return {}
        except (OSError, HTTPException):
            return {}
        return data


def _configuration(
    targets: Mapping[str, Labels], rules: Sequence[Path], scrape_seconds: float
) -> dict[str, Any]:
    jobs: dict[str, list[dict[str, Any]]] = {}
    for address, labels in targets.items():
        more = {name: value for name, value in labels.items() if name != "job"}
        jobs.setdefault(labels["job"], []).append({"targets": [address], "labels": more})
    return {
        "global": {
            "scrape_interval": f"{scrape_seconds * 1000:.0f}ms",
            "scrape_timeout": f"{scrape_seconds * 1000:.0f}ms",
            "evaluation_interval": f"{max(scrape_seconds, 0.5) * 1000:.0f}ms",
        },
        "rule_files": [str(each) for each in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": configs} for job, configs in jobs.items()
        ],
    }
