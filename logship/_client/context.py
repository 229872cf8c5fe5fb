"""Fields of what is being worked on, such as a request: on every record that is logged meanwhile.

They are in a context variable. So a task has those of the code that started it, and no task sees
what another one adds. A thread begins without any, unless its starter hands over its context.
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

    Blocks may lie in each other. The field of the inner block wins over one of the same name, and
    the record's own field wins over both. Blocks of generators may end in any order, and in another
    context than they began in. It cannot be used as a decorator, which would do nothing for a
    coroutine function.

    Args:
        fields: Names and values, as of any record.
    """

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        """Add the fields."""
        _set((*_LAYERS.get(), (self, self._fields)))

    def __exit__(self, *_: object) -> None:
        """Take them away, and nothing that another block has added meanwhile."""
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
