"""Wire: how many bytes of TCP payload a record takes, counted by a relay in between."""

from __future__ import annotations

import contextlib
import socket
import threading

from benchmarks.performance.job import Job, in_turns
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import serving
from benchmarks.processes import run_program
from benchmarks.records import SAME_NAME
from benchmarks.sidecars import Address

SUBJECTS = ("logship", "logship-spool", "fluent-logger")
PROGRAM = "benchmarks.performance.programs.ship"


def measure(job: Job) -> Measured:
    """Ship through a relay and count."""
    turns, seconds = job.pick(1, 3, 1), job.pick(0.3, 1.0, 0.05)
    measured = job.measured(turns=turns, seconds=seconds)
    measured.notes += _NOTES
    with serving(job, "embedded") as server:
        for turn, subject in in_turns(SUBJECTS, turns):
            job.tell(subject)
            spool = job.new_place() if subject == "logship-spool" else ""
            with contextlib.closing(Relay(server.address)) as relay:
                arguments = (subject, *relay.address, seconds, spool, SAME_NAME, "sent")
                found = run_program(PROGRAM, *arguments, stderr=job.stderr)
            records = found["records"] + found["warm_up_records"]
            measured.add(turn, subject, "", wire_bytes_per_record=relay.bytes_sent / records)
    return measured


_NOTES = (
    "Bytes that the client sent, frames and handshake included, without TCP's own. The text alone "
    "has 400. logship's stamp is 35 of them; fluent-logger sends level and logger too, no stamp.",
)


class Relay:
    """Passes a client's bytes on to a server, and counts them."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets = [self._listener]
        self.address: Address = self._listener.getsockname()
        self.bytes_sent = 0
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """Stop when every connection has ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for arguments in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._pass_on, args=arguments)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.bytes_sent += len(data) * counts
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
