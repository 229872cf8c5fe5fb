"""From a deployment and the measured figures to seconds and bytes, and how to say them. PURE."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from logship._delivery.drain import ACKED_SHARE
from logship._deployment.limits import drain_budget_seconds
from logship._deployment.planning.figures import Destination, Figures, Sidecar
from logship._settings import MIB, buffer_bytes_for
from logship._spool.storage import SEGMENT_BYTES

MONTH_SECONDS = 30 * 86_400
GB = 1_000_000_000

RESERVE = 1.25
"""What is recommended is so many times what is needed."""

QUARTER = 0.25
"""The measured sidecars had this share of a core, and a whole one."""

OBJECT_SECONDS = 60.0
"""Each task stores an object so often, where its destination stores objects."""


class Deployment(NamedTuple):
    """What is planned.

    Attributes:
        records_per_second: Records that a task logs in a second, all of its processes together.
        text_bytes: The length of a record's text.
        tasks: How many such tasks there are.
        workers: Processes of a task that have a client.
        sidecar: The name of the task's sidecar.
        cores: What the sidecar may use.
        sidecar_memory_bytes: Its limit; None is not asked about.
        memory_bytes: The limit of the application's container; None is no limit.
        buffer_bytes_max: As the setting; None is its default.
        spool_bytes_max: As the setting; None is no spool.
        stop_timeout_seconds: As the setting.
        outage_seconds: An outage of the sidecar that must lose nothing; None is not asked about.
    """

    records_per_second: float
    text_bytes: int
    tasks: int
    workers: int
    sidecar: str
    cores: float
    sidecar_memory_bytes: int | None
    memory_bytes: int | None
    buffer_bytes_max: int | None
    spool_bytes_max: int | None
    stop_timeout_seconds: float
    outage_seconds: float | None

    @property
    def buffer_bytes(self) -> int:
        """The bytes that each process may hold in memory."""
        if self.buffer_bytes_max is not None:
            return self.buffer_bytes_max
        return buffer_bytes_for(self.memory_bytes)


class Calculation(NamedTuple):
    """A deployment with the figures that were measured.

    A record that is longer than the measured ones costs more in the same proportion. A shorter one
    costs the same.
    """

    deployment: Deployment
    figures: Figures

    def having(self, **settings: Any) -> Calculation:
        """Return the same for a deployment with other settings."""
        return self._replace(deployment=self.deployment._replace(**settings))

    @property
    def sidecar(self) -> Sidecar:
        """The figures of the deployment's sidecar."""
        return self.figures.sidecars[self.deployment.sidecar]

    @property
    def entry_bytes(self) -> float:
        """Bytes that a record takes in buffers: its text, the other fields, time and stamp."""
        others = self.figures.client.entry_bytes - self.figures.text_bytes
        return self.deployment.text_bytes + others

    @property
    def least_buffer_bytes(self) -> int:
        """The smallest buffer in which no record is cut off: two of them fit into it."""
        return math.ceil(2 * self.entry_bytes)

    @property
    def bytes_per_second(self) -> float:
        """Bytes of entries that a task makes in a second."""
        return self.deployment.records_per_second * self.entry_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of entries that each process can hold; a spool takes the buffer's place.

        A spool is made of whole segments, and a small file beside them.
        """
        spool = self.deployment.spool_bytes_max
        if spool is None:
            return self.deployment.buffer_bytes
        return (spool - 1) // SEGMENT_BYTES * SEGMENT_BYTES

    @property
    def covered_seconds(self) -> float:
        """How long the sidecar can be away until a process that logs its share is full."""
        return self.held_bytes * self.deployment.workers / self.bytes_per_second

    @property
    def acked_per_second(self) -> float:
        """Records that the sidecar acknowledges in a second, as fast as it can."""
        each = self.sidecar
        return self._rate(each.acked_at_quarter, each.acked_at_core)

    @property
    def written_per_second(self) -> float:
        """Records that the sidecar passes on in a second, as fast as it can."""
        each = self.sidecar
        return self._rate(each.written_at_quarter, each.written_at_core)

    @property
    def headroom(self) -> float:
        """How many times the load the sidecar can pass on."""
        return self.written_per_second / self.deployment.records_per_second

    @property
    def drain_seconds(self) -> float:
        """How long full buffers, or spools, of all processes take to be acknowledged at a stop."""
        records = self.held_bytes * self.deployment.workers / self.entry_bytes
        return records / self.acked_per_second

    @property
    def drain_budget_seconds(self) -> float:
        """The part of the stop timeout that a drain may count on.

        A fifth of the time for sending is kept back for the sidecar's pauses, as at a real stop.
        """
        deployment = self.deployment
        return ACKED_SHARE * drain_budget_seconds(
            deployment.stop_timeout_seconds,
            deployment.buffer_bytes,
            has_spool=deployment.spool_bytes_max is not None,
        )

    @property
    def outage_seconds(self) -> float:
        """The outage to calculate with: the wanted one, else the longest that is covered."""
        wanted = self.deployment.outage_seconds
        return self.covered_seconds if wanted is None else wanted

    @property
    def catch_up_seconds(self) -> float:
        """How long the sidecar takes for the backlog of that outage while the task logs on."""
        spare = self.written_per_second - self.deployment.records_per_second
        if spare <= 0:
            return math.inf
        return (
            min(self.outage_seconds, self.covered_seconds)
            * self.deployment.records_per_second
            / spare
        )

    @property
    def client_cores(self) -> float:
        """Cores that the clients of a task use."""
        client = self.figures.client
        idle = client.light_cores - self.figures.light_records_per_second * client.cpu_per_record
        is_spooled = self.deployment.spool_bytes_max is not None
        each = client.spooled_cpu_per_record if is_spooled else client.cpu_per_record
        busy = self.deployment.records_per_second * each * self._cost
        return self.deployment.workers * idle + busy

    @property
    def sidecar_cores(self) -> float:
        """Cores that the sidecar uses."""
        each = self.sidecar
        idle = each.light_cores - self.figures.light_records_per_second * each.cpu_per_record
        return idle + self.deployment.records_per_second * each.cpu_per_record * self._cost

    @property
    def sidecar_memory_bytes(self) -> int:
        """The memory that the sidecar needs, with a reserve: a power of two."""
        return int(2 ** math.ceil(math.log2(RESERVE * self.sidecar.memory_most)))

    @property
    def sidecar_buffer_bytes(self) -> int:
        """The volume that the sidecar's buffer takes in an outage of its destination as long."""
        return math.ceil(self.bytes_per_second * self.outage_seconds / MIB) * MIB

    @property
    def records_per_month(self) -> float:
        """Records of all tasks in 30 days."""
        return self.deployment.records_per_second * self.deployment.tasks * MONTH_SECONDS

    def gb_per_month(self, destination: Destination) -> float:
        """Return the gigabytes that a destination bills for 30 days, as entries have them."""
        step = destination.billed_step_bytes
        return self.records_per_month * math.ceil(self.entry_bytes / step) * step / GB

    def dollars_per_month(self, destination: Destination) -> float | None:
        """Return what a destination costs in 30 days; None if no price is known."""
        price = destination.price
        if price is None:
            return None
        objects = self.deployment.tasks * MONTH_SECONDS / OBJECT_SECONDS
        return (
            self.gb_per_month(destination) * price.per_gb
            + self.records_per_month / 1e6 * price.per_million_records
            + objects * price.per_object
        )

    @property
    def _cost(self) -> float:
        """How many times the cost of a measured record one has."""
        return max(1.0, self.entry_bytes / self.figures.client.entry_bytes)

    def _rate(self, at_quarter: float, at_core: float) -> float:
        """Return a rate for the sidecar's cores: on the line between the two that were measured.

        Below a quarter it is in proportion, and above a core it is that of a core.
        """
        cores = self.deployment.cores
        if cores < QUARTER:
            rate = at_quarter * cores / QUARTER
        else:
            share = (min(cores, 1.0) - QUARTER) / (1.0 - QUARTER)
            rate = at_quarter + share * (at_core - at_quarter)
        return rate / self._cost


_STEPS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Return seconds as `0.02 s`, `45 s`, `3 min 34 s`, `2 h 5 min` or `3 d 4 h`.

    What is longer than two minutes is rounded down.
    """
    if math.isinf(seconds):
        return "for ever"
    if seconds < 120:
        return f"{seconds:.3g} s"
    length, unit, part, part_unit = next(each for each in _STEPS if seconds >= each[0])
    whole, rest = divmod(int(seconds), length)
    parts = f" {rest // part} {part_unit}" if rest // part else ""
    return f"{whole:,} {unit}{parts}"
