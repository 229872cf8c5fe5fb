"""aiofluent's sender, as fast as it goes; runs in an environment that has nothing else.

Its handler throws away what exceeds a queue of 500, so the sender itself is awaited. Prints the
same document as `ship`, and which msgpack it runs on.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from itertools import cycle, islice

from benchmarks.performance.programs.shared import BLOCK_RECORDS, WARM_UP_RECORDS, answer
from benchmarks.records import VARIED


async def ship(host: str, port: int, seconds: float) -> dict[str, object]:
    """Await `async_emit` for so many seconds, then close."""
    sender = importlib.import_module("aiofluent.sender").FluentSender(
        "benchmark", host=host, port=port
    )
    records_to_send = cycle(VARIED)
    for record in islice(records_to_send, WARM_UP_RECORDS):
        await sender.async_emit(None, record)
    begun_ns, cpu_seconds, records = time.monotonic_ns(), time.process_time(), 0
    while time.monotonic_ns() < begun_ns + int(seconds * 1e9):
        for record in islice(records_to_send, BLOCK_RECORDS):
            if not await sender.async_emit(None, record):
                raise SystemExit(f"aiofluent did not take a record: {sender.last_error}")
        records += BLOCK_RECORDS
    writer = sender._writer
    writer.close()
    await writer.wait_closed()
    return {
        "records": records,
        "warm_up_records": WARM_UP_RECORDS,
        "begun_ns": begun_ns,
        "ended_ns": time.monotonic_ns(),
        "cpu_seconds": time.process_time() - cpu_seconds,
        "packer": importlib.import_module("msgpack").Packer.__module__,
    }


def main() -> None:
    """Run what the arguments say: host, port, seconds."""
    host, port, seconds = sys.argv[1:]
    figures = asyncio.run(ship(host, int(port), float(seconds)))
    answer(figures)


if __name__ == "__main__":
    main()
