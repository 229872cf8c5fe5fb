"""Fields of what is being worked on, such as a request: on every record that is logged meanwhile.

They are in a context variable. So a task has those of the code that started it, and no task sees
what another one adds. A thread begins without any, unless its starter hands over its context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any

Fields = Mapping[Any, Any]

_FIELDS: ContextVar[Fields | None] = ContextVar("logship_context", default=None)

current_fields = _FIELDS.get
"""Returns the fields of this moment; None where there never were any."""


class context:  # noqa: N801 - it is used as a function, like those of `contextlib`
    """Add fields to every record that is logged in a `with` block.

    Blocks may lie in each other. The field of the inner block wins over one of the same name, and
    the record's own field wins over both. It cannot be used as a decorator, which would do nothing
    for a coroutine function.

    Args:
        fields: Names and values, as of any record.
    """

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self._tokens: list[Token[Fields | None]] = []

    def __enter__(self) -> None:
        """Add the fields."""
        self._tokens.append(_FIELDS.set({**(_FIELDS.get() or {}), **self._fields}))

    def __exit__(self, *_: object) -> None:
        """Take them away."""
        with contextlib.suppress(ValueError):  # the block ends in another context than it began in
            _FIELDS.reset(self._tokens.pop())
