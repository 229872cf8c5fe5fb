"""The view as lines for a person, and as data for a program. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from logship._quoting import visible
from logship._spelling import many
from logship._top.figures import Figures, View

WIDE_COLUMNS: Final = 100
"""In a narrower terminal the columns stand closer, so that 80 columns show what is lost."""

_HEAD: Final = (
    *("pid", "in/s", "ack/s", "buffer", "full", "left", "flight", "last-ack"),
    *("dropped", "spilled", "spooled", "sidecar", "command"),
)


def view_as_json(view: View) -> dict[str, Any]:
    """Return all that the view says."""
    return {
        "time_seconds": view.seconds,
        "processes": None if view.processes is None else [asdict(each) for each in view.processes],
        "total": asdict(view.total),
        "processes_ended": view.ended,
        "processes_killed": view.killed,
    }


def view_as_lines(view: View, source: str, columns: int | None = None) -> Iterator[str]:
    """Yield a headline, a table with one row for each process, and one for all.

    The lines are cut to a width of so many columns; None leaves them whole.
    """
    yield visible(_headline(view, source))[:columns]
    yield ""
    rows: list[tuple[str, ...]] = [
        _HEAD,
        *(_cells(each, each.pid) for each in view.processes or ()),
    ]
    rows.append(_cells(view.total, "all"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    gap = " " if columns is not None and columns < WIDE_COLUMNS else "  "
    for row in rows:
        cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=False))
        yield gap.join((*cells, visible(row[-1])))[:columns].rstrip()
    if view.processes is None:
        yield ""
        yield "This endpoint has only the sum. The rows of processes need --metrics-dir."[:columns]


def _headline(view: View, source: str) -> str:
    if view.processes is None:
        living = many(view.total.clients, "client")
    else:
        living = many(len(view.processes), "process", "es")
    ended = f", {view.ended:,} ended" if view.ended else ""
    killed = f" ({view.killed:,} of them killed)" if view.killed else ""
    return f"logship top: {living}{ended}{killed}, from {source}"


def _cells(figures: Figures, pid: int | str | None) -> tuple[str, ...]:
    return (
        "?" if pid is None else str(pid),
        _rate(figures.accepted_per_second),
        _rate(figures.acked_per_second),
        _bytes(figures.buffer_bytes),
        f"{figures.buffer_fullest_ratio:.0%}",
        _seconds(figures.seconds_until_full),
        f"{figures.inflight_chunks:,}",
        _last_ack(figures),
        f"{figures.dropped:,}",
        f"{figures.spilled:,}",
        f"{figures.spooled:,}",
        _sidecar(figures),
        _short(figures.command),
    )


def _short(command: str) -> str:
    """Leave out the directories of the program and its script, so that a narrow line has both."""
    words = command.split(" ", 2)
    words[:2] = [word.rpartition("/")[2] if word[:1] == "/" else word for word in words[:2]]
    return " ".join(words)


def _sidecar(figures: Figures) -> str:
    if figures.clients <= 1:
        return "-" if not figures.clients else "yes" if figures.connected else "NO"
    return f"{figures.connected} of {figures.clients}"


def _last_ack(figures: Figures) -> str:
    """Say when the last ack was; if none was seen yet, that it is older than the watch."""
    if figures.seconds_since_ack is None:
        return f">{_seconds(figures.watched_seconds)}"
    return _seconds(figures.seconds_since_ack)


def _rate(per_second: float | None) -> str:
    return "-" if per_second is None else f"{per_second:,.0f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    for unit, length in (("s", 1), ("m", 60), ("h", 3600)):
        if seconds < 120 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 86400:,.0f}d"


def _bytes(size: float) -> str:
    for unit in ("", "K"):
        if size < 1024:
            return f"{size:.0f}{unit}"
        size /= 1024
    return f"{size:,.1f}M"
