"""The in-memory transport as one of the servers: no process, the same questions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from logship.testing import MemoryTransport, Sidecar
from tests.support.servers import Arrived, ServerProcess


class MemoryServer(ServerProcess):
    """A `Sidecar` behind `MemoryTransport`; killed, it hangs up and is not reachable."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.sidecar = Sidecar()
        self.sidecar.reachable = False
        super().__init__(directory, **options)

    @property
    def client_options(self) -> dict[str, Any]:
        return {"transport": MemoryTransport(self.sidecar)}

    @property
    def is_alive(self) -> bool:
        return self.sidecar.reachable

    def start(self) -> None:
        self.sidecar.reachable = True

    def kill(self) -> None:
        """Hang up, and be reachable no more."""
        self.sidecar.reachable = False
        self.sidecar.hang_up()

    def terminate(self) -> int:
        """End; there is nothing that it would still have to write."""
        self.kill()
        return 0

    def close(self) -> None:
        """Give back what it used; the clients that are left may be closed already."""
        self.sidecar.reachable = False
        self.give_back()

    def command(self) -> Sequence[str]:
        return []

    def arrived(self, tag: str) -> list[Arrived]:
        return [Arrived(*each) for each in list(self.sidecar.delivered) if each.tag == tag]

    def output_files(self, tag: str) -> list[Path]:
        """Write down what it took, as the embedded receiver would, and return the file."""
        path = self.directory / "out" / tag
        lines = [
            json.dumps({"tag": each.tag, "time_ns": each.time_ns, "record": each.record}) + "\n"
            for each in self.arrived(tag)
        ]
        path.write_text("".join(lines))
        return [path]
