"""What hypothesis generates: records, their names and values, of every kind and of plain ones."""

from __future__ import annotations

from hypothesis import strategies as st

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(codec=None, categories=["Cs", "Lu", "So"])),
    st.binary(),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(),
    st.builds(ValueError, st.text()),
)
keys = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["message", "level", "logship_id", "app_logship_id", "logship_gap", "1"]),
    st.integers(-3, 3),
    st.booleans(),
    st.none(),
    st.floats(),
    st.binary(max_size=3),
    st.tuples(st.integers(0, 2), st.text(max_size=2)),
    st.text(st.characters(categories=["Cs"]), max_size=2),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=5),
        st.frozensets(st.integers()),
    ),
    max_leaves=10,
)
records = st.dictionaries(keys, values, max_size=8)
plain_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
names = st.text(max_size=12).filter(lambda name: not name.startswith("logship_"))
plain_values = st.recursive(
    plain_scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(names, inner, max_size=5)),
    max_leaves=10,
)
