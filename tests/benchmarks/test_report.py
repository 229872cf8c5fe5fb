"""`python -m benchmarks report`, from the results that the repository has."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.performance.charts import Bar, axis_to, bars
from benchmarks.performance.docs_page import BEGIN, END, PAGE, markdown_of
from benchmarks.performance.goals import GOALS
from benchmarks.performance.handler import PLAIN
from benchmarks.performance.measures import MEASURES, SHOWN
from benchmarks.performance.page import page_of
from benchmarks.performance.plots import plots_of
from benchmarks.performance.report import report
from benchmarks.performance.results import Measured, Results, read_results, write_results
from benchmarks.performance.serving import COUNTING
from benchmarks.performance.statistics import is_supported
from benchmarks.performance.tables import grid_of
from benchmarks.performance.throughput import ENCODING, NOWHERE
from benchmarks.performance.words import summary_of
from tests.benchmarks.running import REPOSITORY

STORED = REPOSITORY / "benchmarks" / "results" / "performance.json"
ALONE = ("meta",)
"""Elements that have no end."""


@pytest.fixture
def results() -> Results:
    return read_results([STORED])


class Page(HTMLParser):
    """Reads a page: which elements there are in which section, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.sections: dict[str, Counter[str]] = {}
        self.texts: dict[str, list[str]] = {}
        self._section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ALONE:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = dict(attrs)["id"] or ""
        self.sections.setdefault(self._section, Counter())[tag] += 1
        for name, value in attrs:
            assert name not in ("src", "href"), f"it needs {value}"

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._section, []).append(data)


def invoke(*arguments: object, code: int = 0) -> Result:
    done = CliRunner().invoke(report, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done


# --- the HTML page -------------------------------------------------------------------------------


def test_every_measure_has_a_section_with_plots_conditions_and_all_figures(
    results: Results,
) -> None:
    page = Page(page_of(results))
    assert page.opened == []
    assert list(page.sections) == ["", *SHOWN, "targets"]
    for name in MEASURES:
        found = page.sections[name]
        assert found["svg"] == found["figure"] == len(plots_of(name, results[name])) > 0
        assert found["table"] == 1
        conditions = [text for text in page.texts[name] if "load average before it" in text]
        assert len(conditions) == 1
    assert page.sections["targets"]["tr"] == 1 + len(GOALS)
    assert not {"script", "img", "link"} & set().union(*page.sections.values())


def test_the_page_begins_with_what_was_found_where_and_when() -> None:
    machine = {"platform": "Linux 6.1", "cpus": 2, "python": "CPython 3.13.5"}
    results = {
        name: Measured({**machine, "started": "2026-11-27T10:00:00+00:00"})
        for name in ("loss", "throughput", "handler")
    }
    for case in ("none", "sidecar-down"):
        results["loss"].add(0, "logship", case, lost=0, spilled=300, dropped=100, delivered=600)
        results["loss"].add(0, "fluent-logger", case, lost=7, spilled=0, dropped=0, delivered=993)
    results["throughput"].add(0, "logship", "fluentd", records_per_second=300_000)
    results["throughput"].add(0, "fluent-logger", "fluentd", records_per_second=60_000)
    results["handler"].add(0, "logship", PLAIN, call_ns=6_000)
    results["handler"].add(0, "nothing", PLAIN, call_ns=4_000)
    heading, table, *said = summary_of(results)
    assert heading == "## At a glance"
    assert table.splitlines()[2:] == [
        "| lines lost over 2 kinds of faults and stops | 0 of 2,000 |  | 14 of 2,000 |  |",
        "| records/s into Fluentd | 300,000 |  | 60,000 |  |",
        "| a `logging` call, µs, and against a bare handler | 6.00, 1.50 times |  |  |  |",
    ]
    assert said[-1] == "Linux 6.1, 2 CPUs, CPython 3.13.5."
    texts = Page(page_of(results)).texts[""]
    assert [text for text in texts if text in said] == said
    assert "0 of 2,000" in texts


def test_records_of_one_shape_have_the_ceiling_of_one_shape() -> None:
    measured = Measured({})
    for case, rate, ceiling in (("", 200_000, 800_000), (", one shape", 300_000, 600_000)):
        measured.add(0, "logship", f"{COUNTING}{case}", records_per_second=rate)
        measured.add(0, ENCODING, f"{NOWHERE}{case}", records_per_second=ceiling)
    grid = grid_of(MEASURES["throughput"], measured)
    assert [row[-1] for row in grid.rows] == ["0.25", "", "0.50", ""]


def test_a_percentile_has_ten_values_beyond_it() -> None:
    assert not is_supported(0.999, 3_000)
    assert not is_supported(0.999, 9_999)
    assert is_supported(0.999, 10_000)
    assert is_supported(0.99, 1_000)


def test_what_is_missing_is_said(results: Results) -> None:
    del results["loss"], results["wire"]
    page = Page(page_of(results))
    for name in MEASURES:
        is_missing = "python -m benchmarks all --only " + name in page.texts[name]
        assert is_missing == (name not in results)


def test_goals_of_nothing_are_not_measured() -> None:
    page = Page(page_of({}))
    assert page.texts["targets"].count("not measured") == len(GOALS)


def test_text_of_results_is_no_markup() -> None:
    wild = '<wild a="1">&'
    found = {"commit": wild, "versions": {wild: wild}, "options": {wild: wild}}
    measured = Measured(found, notes=[wild])
    measured.add(0, wild, wild, call_ns=1.0)
    for name in ("handler", "throughput"):
        text = page_of({name: measured})
        assert "<wild" not in text
        assert text.count("&lt;wild a=&quot;1&quot;&gt;&amp;") > 5


def test_a_measure_without_values_has_no_plot_and_no_error() -> None:
    results = {name: Measured({}) for name in MEASURES if name not in ("memory", "loss")}
    assert Page(page_of(results)).opened == []


# --- plots ---------------------------------------------------------------------------------------


def test_a_little_loss_is_seen_and_none_is_not() -> None:
    svg = bars("", [Bar("", [(99.999, 0), (0.001, 1), (0.0, 2)], "")], axis_to(100)).svg
    widths = [float(part.split('"')[0]) for part in svg.split('width="')[1:]]
    assert widths[1:] == [3.0, 0.0]


# --- the page of the docs ------------------------------------------------------------------------


def test_docs_keep_what_is_written_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    monkeypatch.chdir(tmp_path)
    PAGE.parent.mkdir()
    PAGE.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\n## By hand\n")
    write_results(Path("one.json"), {"handler": results["handler"]})
    invoke("one.json", "--docs")
    once = PAGE.read_text()
    assert once.startswith(f"# Mine\n\n{BEGIN}\n")
    assert once.endswith(f"\n{END}\n\n## By hand\n")
    assert "old" not in once
    assert once.count("Not measured: ") == len(MEASURES) - 1
    assert "| fluent-logger-async |" in once
    invoke("one.json", "--docs")
    assert PAGE.read_text() == once


@pytest.mark.parametrize(
    "text", ["# Mine\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n", f"{BEGIN}{BEGIN}{END}"]
)
def test_docs_without_their_markers_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    PAGE.parent.mkdir()
    PAGE.write_text(text)
    done = invoke(STORED, "--docs", code=2)
    assert "must have these lines once" in done.output
    assert PAGE.read_text() == text


def test_the_page_of_the_repository_shows_the_results_of_the_repository() -> None:
    assert f"\n\n{markdown_of(read_results([STORED]))}\n\n" in (REPOSITORY / PAGE).read_text()


# --- the command ---------------------------------------------------------------------------------


def test_later_files_replace_measures_of_earlier_ones(tmp_path: Path) -> None:
    measured = Measured({})
    measured.add(0, "newcomer", "", call_ns=1000.0)
    write_results(tmp_path / "later.json", {"handler": measured})
    invoke(STORED, tmp_path / "later.json", "--html", tmp_path / "new" / "r.html")
    page = Page((tmp_path / "new" / "r.html").read_text())
    assert "newcomer" in page.texts["handler"]
    assert "fluent-logger" not in page.texts["handler"]
    assert "fluent-logger" in page.texts["throughput"]


def test_nothing_to_write_is_an_error() -> None:
    done = invoke(STORED, code=2)
    assert "--html FILE, --docs, or both" in done.output


def test_docs_outside_the_repository_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(STORED, "--docs", code=2)
    assert "run from the root of the repository" in done.output
