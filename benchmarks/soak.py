"""`python -m benchmarks soak`: a spool in long use stays within its bounds.

A client logs millions of records as fast as the sidecar acks them. All the while the spool's
directory is measured from outside: bytes on the disk, and files.
"""

from __future__ import annotations

import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import click

import logship
from benchmarks.campaign import new_directory
from benchmarks.errors import BenchmarkError
from benchmarks.records import RECORDS
from benchmarks.sidecars import running_receiver
from benchmarks.table import open_console, open_progress

SLICE_RECORDS = 5_000
SEND_SECONDS_MAX = 60.0
FILES_BYTES_EACH_MIN = 1 << 20
"""A file of the spool is never smaller than that, but for two small ones of each life."""


@click.command()
@click.option("--records", type=click.IntRange(1), default=10_000_000, show_default=True)
@click.option("--spool-mib", type=click.IntRange(8), default=64, show_default=True)
@click.option(
    "--spool",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the spool is made.  [default: the directory for temporary files]",
)
def soak(records: int, spool_mib: int, spool: Path | None) -> None:
    """Log RECORDS through a spool of so many MiB; exit code 1 when it outgrows its bounds."""
    console, directory = open_console(), new_directory("soak")
    with (
        tempfile.TemporaryDirectory(prefix="logship-soak-", dir=spool) as spool_directory,
        running_receiver(directory, Path("/dev/null")) as receiver,
    ):
        root, (host, port) = Path(spool_directory), receiver.address
        settings = logship.Settings.from_env(
            {
                "LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}",
                "LOGSHIP_SPOOL_DIR": str(root),
                "LOGSHIP_SPOOL_BYTES_MAX": str(spool_mib << 20),
            }
        )
        bytes_max = files_max = 0
        begun = time.monotonic()
        client = logship.BackgroundClient(settings)
        with open_progress(console) as progress:
            task = progress.add_task("soak", total=records, step="")
            for _ in range(0, records, SLICE_RECORDS):
                for record in islice(cycle(RECORDS), SLICE_RECORDS):
                    client.send(record, timeout=SEND_SECONDS_MAX)
                size, files = _measured(root)
                bytes_max, files_max = max(bytes_max, size), max(files_max, files)
                progress.advance(task, SLICE_RECORDS)
        report = client.close(timeout=SEND_SECONDS_MAX)
        seconds = time.monotonic() - begun
        left = [str(each.relative_to(root)) for each in root.rglob("*")]
    console.print(
        f"{report.accepted:,} records in {seconds:,.0f} s, {report.acked:,} acked; on the disk at "
        f"most {bytes_max / 2**20:.1f} MiB of {spool_mib} and {files_max} files; left: {left}"
    )
    if report.acked != report.accepted:
        raise BenchmarkError(f"{report.accepted - report.acked} records were not acked")
    files_allowed = (spool_mib << 20) // FILES_BYTES_EACH_MIN + 3
    if bytes_max > spool_mib << 20 or files_max > files_allowed or left:
        raise SystemExit(1)


def _measured(root: Path) -> tuple[int, int]:
    """Return bytes and number of the files below `root`; one may vanish meanwhile."""
    size = files = 0
    for path in root.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            size, files = size + status.st_blocks * 512, files + 1
    return size, files
