"""Fields of a unit of work, such as a request, on every record that is logged during it.

They are in a context variable. A task inherits the fields of the code that started it, and no task
sees what another one adds. A new thread has none, unless it runs in a copy of another context: on
a free-threaded build since 3.14 it does (`sys.flags.thread_inherit_context`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from logship._protocol.repeated import Repeated

Fields = Mapping[Any, Any]
Layer = tuple[object, Fields]
"""A block that is open, and its fields."""

_FIELDS: ContextVar[Repeated | None] = ContextVar("logship_context", default=None)
_LAYERS: ContextVar[tuple[Layer, ...]] = ContextVar("logship_context_layers", default=())

current_fields = _FIELDS.get
"""Returns the fields of this moment; None where there are none."""


class context:  # noqa: N801 - it is used as a function, like those of `contextlib`
    """Add fields to every record that is logged in a `with` block.

    Blocks may be nested. If names are equal, the inner block's field wins over the outer block's,
    and the record's own field wins over both. Blocks of generators may end in any order, and in
    another context than they began in. `context` cannot be used as a decorator, because a decorator
    would have no effect on a coroutine function.

    Args:
        fields: Names and values of the fields.
    """

    def __init__(self, /, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        """Add the fields."""
        _set((*_LAYERS.get(), (self, self._fields)))

    def __exit__(self, *_: object) -> None:
        """Remove the fields of this block, but none that another block has added meanwhile."""
        layers = list(_LAYERS.get())
        for index in reversed(range(len(layers))):
            if layers[index][0] is self:
                del layers[index]
                break
        _set(tuple(layers))


def _set(layers: tuple[Layer, ...]) -> None:
    merged: dict[Any, Any] = {}
    for _, fields in layers:
        merged.update(fields)
    _LAYERS.set(layers)
    _FIELDS.set(Repeated(merged) if merged else None)
