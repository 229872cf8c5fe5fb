"""What was measured, and list prices: `figures.json`, in seconds, bytes and dollars.

Each measured figure names the page, row and column of its table, and a test compares them. Each
price names the page that stated it, and the vendor's own list.
"""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Mapping
from typing import Any, NamedTuple

_UNITS = {"bytes": 1, "MB": 1e6, "records/s": 1, "µs": 1e-6, "%": 0.01}


class Client(NamedTuple):
    """A client, for each record.

    Attributes:
        entry_bytes: What a record with a text of `Figures.text_bytes` takes.
        cpu_per_record: Seconds of CPU until the ack, with a buffer in memory.
        spooled_cpu_per_record: The same with a spool.
        light_cores: Cores that the client uses at `Figures.light_records_per_second`.
    """

    entry_bytes: float
    cpu_per_record: float
    spooled_cpu_per_record: float
    light_cores: float


class Sidecar(NamedTuple):
    """A sidecar.

    Attributes:
        acked_at_quarter, acked_at_core: Records acked in a second with 0.25 of a core, and one.
        written_at_quarter, written_at_core: The same, until they are in the output.
        cpu_per_record: Seconds of CPU, the output included.
        light_cores: Cores that it uses at `Figures.light_records_per_second`.
        memory_most: The most bytes of memory.
    """

    acked_at_quarter: float
    acked_at_core: float
    written_at_quarter: float
    written_at_core: float
    cpu_per_record: float
    light_cores: float
    memory_most: float


class Price(NamedTuple):
    """What a destination costs in dollars.

    Attributes:
        per_gb: For 1,000,000,000 bytes.
        covers: What is in the price, and what is not.
        region: Where it is valid.
        date: The month that the source names, or else in which it was read.
        source: The page that said so.
        list: The vendor's own list.
        per_million_records: In addition.
        per_object: In addition, for each object that is stored.
    """

    per_gb: float
    covers: str
    region: str
    date: str
    source: str
    list: str
    per_million_records: float = 0.0
    per_object: float = 0.0


class Destination(NamedTuple):
    """An output of `LOGSHIP_OUTPUT`.

    Attributes:
        sidecars: Those that have a configuration for it.
        price: None if no list price is known.
        billed_step_bytes: The size of each record is rounded up to a multiple of this.
        list: The vendor's list, where no price is known.
    """

    sidecars: tuple[str, ...]
    price: Price | None = None
    billed_step_bytes: int = 1
    list: str | None = None


class Figures(NamedTuple):
    """All of it.

    Attributes:
        text_bytes: The length of the text in the measured records.
        light_records_per_second: So few that most of the CPU is not for them.
        client: The client.
        sidecars: By name.
        destinations: By the value of `LOGSHIP_OUTPUT`.
        sources: Where the measured figures are from: `page`, `measured` (the day) and `machine`.
    """

    text_bytes: int
    light_records_per_second: float
    client: Client
    sidecars: Mapping[str, Sidecar]
    destinations: Mapping[str, Destination]
    sources: list[dict[str, str]]


def read() -> Any:
    """Return the content of `figures.json`."""
    data = pkgutil.get_data(__name__, "figures.json")
    assert data is not None
    return json.loads(data)


def load() -> Figures:
    """Return what was measured, and the prices."""
    content = read()
    measured = {
        name: each["value"] * _UNITS[each["unit"]] for name, each in content["measured"].items()
    }
    names = dict.fromkeys(name.partition(".")[0] for name in measured)
    sidecars = {name: _of(Sidecar, name, measured) for name in names if name != "client"}
    return Figures(
        text_bytes=content["text_bytes"],
        light_records_per_second=content["light_records_per_second"],
        client=_of(Client, "client", measured),
        sidecars=sidecars,
        destinations={name: _destination(each) for name, each in content["destinations"].items()},
        sources=[{"page": page, **each} for page, each in content["sources"].items()],
    )


def _of(kind: Any, name: str, measured: Mapping[str, float]) -> Any:
    return kind(*(measured[f"{name}.{field}"] for field in kind._fields))


def _destination(content: dict[str, Any]) -> Destination:
    price = content.get("price")
    others = {**content, "sidecars": tuple(content["sidecars"])}
    return Destination(**{**others, "price": None if price is None else Price(**price)})
