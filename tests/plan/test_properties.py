"""What holds for every deployment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._deployment.limits import MEMORY_SHARE_MAX
from logship._deployment.planning.arithmetic import Calculation, Deployment
from logship._deployment.planning.figures import load
from logship._deployment.planning.plan import HEADROOM, fits, improved
from logship._settings import MIB

FIGURES = load()

deployments = st.builds(
    Deployment,
    records_per_second=st.floats(0.001, 1e6),
    text_bytes=st.integers(1, 1_000_000),
    tasks=st.integers(1, 1000),
    workers=st.integers(1, 64),
    sidecar=st.sampled_from(sorted(FIGURES.sidecars)),
    cores=st.floats(0.01, 4),
    sidecar_memory_bytes=st.none() | st.integers(4 * MIB, 2048 * MIB),
    memory_bytes=st.none() | st.integers(64 * MIB, 64 * 1024 * MIB),
    buffer_bytes_max=st.none() | st.integers(64 * 1024, 1024 * MIB),
    spool_bytes_max=st.none() | st.integers(16 * MIB, 64 * 1024 * MIB),
    stop_timeout_seconds=st.floats(0.5, 3600),
    outage_seconds=st.none() | st.floats(0, 86_400),
)


def of(deployment: Deployment, **changes: Any) -> Calculation:
    return Calculation(deployment._replace(**changes), FIGURES)


@pytest.mark.parametrize("name", ["memory_bytes", "buffer_bytes_max", "spool_bytes_max", "workers"])
@given(deployment=deployments, more=st.integers(0, 4096 * MIB))
def test_more_of_it_never_covers_less(name: str, deployment: Deployment, more: int) -> None:
    before = getattr(deployment, name)
    if before is not None:
        bigger = of(deployment, **{name: before + more})
        assert bigger.covered_seconds >= of(deployment).covered_seconds


@given(deployment=deployments, factor=st.floats(1, 100))
def test_a_larger_load_never_covers_more_nor_costs_less(
    deployment: Deployment, factor: float
) -> None:
    more, before = (
        of(deployment, records_per_second=deployment.records_per_second * factor),
        of(deployment),
    )
    assert more.covered_seconds <= before.covered_seconds
    assert more.headroom <= before.headroom
    assert more.client_cores >= before.client_cores
    assert more.sidecar_cores >= before.sidecar_cores
    for each in FIGURES.destinations.values():
        assert more.gb_per_month(each) >= before.gb_per_month(each)
        assert (more.dollars_per_month(each) or 0) >= (before.dollars_per_month(each) or 0)


@given(deployment=deployments, factor=st.floats(1, 100))
def test_a_faster_sidecar_never_drains_slower(deployment: Deployment, factor: float) -> None:
    faster, before = of(deployment, cores=deployment.cores * factor), of(deployment)
    assert faster.drain_seconds <= before.drain_seconds
    assert faster.headroom >= before.headroom
    assert faster.catch_up_seconds <= before.catch_up_seconds


@given(deployment=deployments, more=st.floats(0, 3600))
def test_a_longer_stop_timeout_never_leaves_less(deployment: Deployment, more: float) -> None:
    longer = of(deployment, stop_timeout_seconds=deployment.stop_timeout_seconds + more)
    assert longer.drain_budget_seconds >= of(deployment).drain_budget_seconds


@given(deployment=deployments)
def test_recommended_settings_fit_unless_the_sidecar_is_too_slow(deployment: Deployment) -> None:
    better = improved(of(deployment))
    assert fits(better) or better.headroom < HEADROOM or not _has_memory(better)


def _has_memory(calculation: Calculation) -> bool:
    """Return whether two records of each process fit into the memory that buffers may take."""
    deployment, least = calculation.deployment, calculation.least_buffer_bytes
    memory_bytes = deployment.memory_bytes
    return memory_bytes is None or deployment.workers * least <= memory_bytes * MEMORY_SHARE_MAX


@given(deployment=deployments)
def test_recommended_buffers_cut_no_records_off(deployment: Deployment) -> None:
    better = improved(of(deployment))
    least = min(better.least_buffer_bytes, deployment.buffer_bytes)
    assert better.deployment.buffer_bytes >= least
