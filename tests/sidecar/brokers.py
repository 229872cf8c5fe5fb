"""The stand-in for Kafka as a process, and the verdict over what its consumer got."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.contract.shipping import Ledger, audit
from tests.sidecar.deployed import REPOSITORY
from tests.support.programs import let_pass
from tests.support.servers import json_objects
from tests.support.waiting import wait_until


class Broker:
    """The stand-in, as a process.

    Args:
        directory: Where it writes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        words = [sys.executable, "-m", "tests.sidecar.standins.kafka", str(directory)]
        self.process = subprocess.Popen(words, cwd=REPOSITORY)
        wait_until(lambda: self.address() != "", "the broker listens", 30)

    def address(self) -> str:
        """Return where it listens, or nothing yet."""
        path = self._directory / "address"
        return path.read_text() if path.exists() else ""

    @property
    def stored(self) -> Path:
        return self._directory / "stored.jsonl"

    def markers(self) -> set[str]:
        return {record["marker"] for record in json_objects(self.stored) if "marker" in record}

    def stand_still(self) -> None:
        """Answer nothing from now on."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self.process.send_signal(signal.SIGCONT)

    def pause(self) -> None:
        """Answer nothing for two seconds."""
        self.stand_still()
        let_pass(2)
        self.go_on()


def judge(ledger: Ledger, broker: Broker) -> None:
    wait_until(lambda: broker.markers() == set(ledger.markers), "all is at the consumer", 60)
    wait_until(lambda: audit(broker.stored)[0] == 0, "the end record is there too", 30)
