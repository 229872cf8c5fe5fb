"""The table of measures, and the sums. Names, types and labels are pinned by `tests/golden`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import AUDIT_MEASURES, RECEIVER_MEASURES, Kind
from logship._metrics.sums import SLOTS, Numbers, ended, plus_ended, slot, summed, zeros
from tests.unit.accounts import QUICK

KINDS = {measure.name: measure.kind for measure in CLIENT_MEASURES}

numbers = st.lists(st.integers(0, 1 << 40).map(float), min_size=len(SLOTS), max_size=len(SLOTS))


def test_names_say_their_kind_and_labels_are_few() -> None:
    """No label has a value that comes from outside: never a tag, an endpoint, an error's text."""
    for measure in (*CLIENT_MEASURES, *RECEIVER_MEASURES, *AUDIT_MEASURES):
        assert measure.name.endswith("_total") == (measure.kind is Kind.COUNTER)
        assert measure.label in ("", "reason", "result", "le")
        assert len(measure.values) < 20
        assert measure.meaning.endswith(".")
        assert measure.remedy.endswith(".")


@QUICK
@given(st.lists(numbers, max_size=3), numbers, numbers)
def test_a_death_changes_no_counter_and_takes_the_gauges_away(
    living: list[Numbers], dying: Numbers, dead: Numbers
) -> None:
    before, after = summed([*living, dying], dead), summed(living, plus_ended(dead, dying))
    for (name, value), was, is_ in zip(SLOTS, before, after, strict=True):
        if KINDS[name] in (Kind.COUNTER, Kind.HISTOGRAM, Kind.LONGEST):
            assert is_ == was
        elif KINDS[name] is Kind.GAUGE:
            assert is_ == was - dying[slot(name, value)]


def test_the_killed_leave_what_waited_where_it_lay() -> None:
    """Accepted is the sum of the five, for the dead too."""
    alive = zeros()
    alive[slot("records_accepted_total")] = 100
    alive[slot("records_acked_total")] = 60
    alive[slot("records_waiting")] = 40
    alive[slot("records_spooled")] = 30
    dead = ended(alive)
    assert dead[slot("records_left_spooled_total")] == 30
    assert dead[slot("records_unacked_total")] == 10
