"""Shows what a record gets of OpenTelemetry's current span, and that nothing can go wrong."""

from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from logship._installation.tracing import LOOK_INTERVAL_NS, CurrentSpan

TRACE_ID, SPAN_ID = 0xABC, 0xDEF


@pytest.fixture
def opentelemetry(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module in the place of OpenTelemetry's, without a span yet."""
    module = ModuleType("opentelemetry.trace")
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return module


def _enter_span(module: ModuleType, *, is_valid: bool = True) -> None:
    context = SimpleNamespace(trace_id=TRACE_ID, span_id=SPAN_ID, is_valid=is_valid)
    module.get_current_span = lambda: SimpleNamespace(  # type: ignore[attr-defined]
        get_span_context=lambda: context
    )


def _fields(**given: Any) -> dict[str, Any]:
    fields = dict(given)
    span = CurrentSpan()
    span.look()
    if span.trace is not None:
        span.add_to(fields)
    return fields


def test_nothing_where_opentelemetry_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert _fields() == {}
    assert "opentelemetry.trace" not in sys.modules


def test_the_ids_are_hexadecimal_at_full_width(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry)
    assert _fields() == {"trace_id": "0" * 29 + "abc", "span_id": "0" * 13 + "def"}


def test_nothing_outside_a_span(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry, is_valid=False)
    assert _fields() == {}


def test_what_the_application_gave_stands(opentelemetry: ModuleType) -> None:
    _enter_span(opentelemetry)
    assert _fields(trace_id="mine")["trace_id"] == "mine"


def test_a_module_that_is_half_imported_is_no_error(opentelemetry: ModuleType) -> None:
    del opentelemetry
    assert _fields() == {}


def test_it_is_looked_for_again_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    span = CurrentSpan()
    before_ns = time.time_ns()
    span.look()
    assert before_ns <= span.due_ns - LOOK_INTERVAL_NS <= time.time_ns()
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))
    span.look()
    assert span.trace is not None
    assert span.due_ns > 1 << 63
