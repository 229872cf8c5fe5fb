"""The figures of `logship plan` are those that the pages of measurements have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship._deployment.linting.rules.sidecars import OUTPUTS
from logship._deployment.planning import figures
from tests.documentation.pages import tokens_of
from tests.support.programs import REPOSITORY

CONTENT = figures.read()
MEASURED: dict[str, Any] = CONTENT["measured"]
PRICED = [name for name, each in CONTENT["destinations"].items() if "price" in each]

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def tables_of(page: Path) -> Iterator[list[list[str]]]:
    """Yield the tables of a page: rows of cells, the heads first."""
    rows: list[list[str]] = []
    for token, following in zip(tokens_of(page), tokens_of(page)[1:], strict=False):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(following.content)
        elif token.type == "table_close":
            yield rows
            rows = []


def cell_of(page: Path, row: set[str], column: str) -> str:
    """Return the one cell in this column of the row that has these cells."""
    found = [
        each[table[0].index(column)]
        for table in tables_of(page)
        if column in table[0]
        for each in table
        if row.issubset(each)
    ]
    assert len(found) == 1, f"{page.name}: {row}: {column}: {found}"
    return found[0]


@pytest.mark.parametrize("name", MEASURED)
def test_a_figure_is_what_its_page_says(name: str) -> None:
    """If not, the page was measured again: change `figures.json`, its date and its machine."""
    each = MEASURED[name]
    row = {each["row"], each.get("case", each["row"])}
    cell = cell_of(REPOSITORY / each["page"], row, each["column"])
    numbers = [float(text.replace(",", "")) for text in _NUMBER.findall(cell)]
    assert each["value"] == numbers[each.get("number", 0)], cell
    if each["unit"] != "bytes":
        assert each["unit"] in cell or each["unit"] in each["row"] or each["unit"] in each["column"]


def test_the_pages_have_a_day_and_a_machine() -> None:
    assert {each["page"] for each in MEASURED.values()} == set(CONTENT["sources"])
    for page, each in CONTENT["sources"].items():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", each["measured"])
        text = " ".join((REPOSITORY / page).read_text("utf-8").split())
        for word in re.findall(r"CPython [\d.]+|Docker [\d.]+|Linux [\d.]+\d", each["machine"]):
            assert word in text


def test_the_records_and_the_light_load_are_those_of_the_pages() -> None:
    for page in CONTENT["sources"]:
        assert f"{CONTENT['text_bytes']} characters" in (REPOSITORY / page).read_text("utf-8")
    assert (
        f"CPU at {CONTENT['light_records_per_second']} records/s"
        == MEASURED["fluentd.light_cores"]["row"]
    )


def test_destinations_are_those_that_the_sidecars_have() -> None:
    known = figures.load().destinations
    assert set(known) == set(OUTPUTS)
    for sidecar, directory in (("fluentd", "fluentd"), ("fluent-bit", "fluent-bit/conf")):
        files = {each.stem for each in (REPOSITORY / "sidecar" / directory / "outputs").iterdir()}
        outputs = {name for name, each in known.items() if sidecar in each.sidecars}
        assert outputs == files & set(OUTPUTS) | {"own"}


@pytest.mark.parametrize("name", PRICED)
def test_a_price_names_where_it_was_read(name: str) -> None:
    price = figures.load().destinations[name].price
    assert price is not None
    assert price.source.startswith("https://")
    assert price.list.startswith("https://")
    assert re.fullmatch(r"20\d\d-\d\d", price.date)
    assert price.region
