"""Every figure that a measure takes: its unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass

HIGHER = "higher"
LOWER = "lower"


@dataclass(frozen=True)
class Figure:
    """What a value means.

    Attributes:
        title: What a person reads above a column.
        unit: Of the values as they are shown.
        better: `higher` or `lower`.
        scale: What a value is multiplied with before it is shown.
        is_exact: The same in every run: any change of its greatest value is one, also where there
            is only one value.
    """

    title: str
    unit: str
    better: str = LOWER
    scale: float = 1.0
    is_exact: bool = False

    def shown(self, value: float) -> str:
        """Return a value as a person reads it, without its unit."""
        scaled = value * self.scale
        if self.unit == "lines":
            return f"{scaled:,.0f}"
        return next(
            form.format(scaled) for least, form in _FORMS if abs(scaled) >= least or not least
        )

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


_FORMS = ((100.0, "{:,.0f}"), (10.0, "{:,.1f}"), (0.0, "{:,.2f}"))
_MIB = 1 / (1 << 20)


RATIO = Figure("ratio", "")


def _nanoseconds(title: str) -> Figure:
    return Figure(title, "µs", scale=1e-3)


FIGURES: dict[str, Figure] = {
    "records_per_second": Figure("throughput", "records/s", HIGHER),
    "client_cpu_seconds_per_record": Figure("client CPU", "µs/record", scale=1e6),
    "server_cpu_seconds_per_record": Figure("server CPU", "µs/record", scale=1e6),
    "call_ns": _nanoseconds("a call"),
    "sustained_call_ns": _nanoseconds("a call, without pause"),
    "record_cpu_ns": _nanoseconds("CPU of a record"),
    "emitted_per_second": Figure("emitted", "records/s", HIGHER),
    "emit_p50_ns": _nanoseconds("p50"),
    "emit_p99_ns": _nanoseconds("p99"),
    "emit_p99.9_ns": _nanoseconds("p99.9"),
    "emit_max_ns": _nanoseconds("max"),
    "drain_seconds": Figure("drain", "s"),
    "drained_bytes_per_second": Figure("drain", "MiB/s", HIGHER, scale=_MIB),
    "rss_idle_bytes": Figure("idle", "MiB", scale=_MIB),
    "rss_load_bytes": Figure("under load", "MiB", scale=_MIB),
    "rss_full_bytes": Figure("sidecar down", "MiB", scale=_MIB),
    "rss_soak_bytes": Figure("soak", "MiB", scale=_MIB),
    "rss_full_over_bound": Figure("(full - idle) / bound", ""),
    "import_seconds": Figure("import and install", "ms", scale=1e3),
    "import_cpu_seconds": Figure("its CPU", "ms", scale=1e3),
    "process_seconds": Figure("the whole process", "ms", scale=1e3),
    "leave_seconds": Figure("added to the exit", "ms", scale=1e3),
    "leave_cpu_seconds": Figure("CPU added to it", "ms", scale=1e3),
    "wire_bytes_per_record": Figure("on the wire", "bytes/record"),
    "cpu_share": Figure("CPU of the process", "% of a core", scale=100),
    "shipper_cpu_share": Figure("CPU of the shipper", "% of a core", scale=100),
    "lost": Figure("lost", "lines", is_exact=True),
    "spilled": Figure("spilled to stderr", "lines"),
    "dropped": Figure("declared as dropped", "lines"),
    "delivered": Figure("delivered", "lines", HIGHER),
    "duplicated": Figure("copies beyond the first", "lines"),
    "stop_seconds": Figure("stop", "s"),
}
