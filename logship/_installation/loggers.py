"""Loggers whose records do not reach the root logger, such as uvicorn's and gunicorn's."""

from __future__ import annotations

import logging


class Loggers:
    """Puts the handler where the records of some loggers come by, and nowhere twice.

    Records that reach the root logger need it there; others on the highest logger that is meant.

    Args:
        handler: The one on the root logger.
        names: Of loggers, whose children are meant too; `*` is all of them.
    """

    def __init__(self, handler: logging.Handler, names: tuple[str, ...]) -> None:
        self._handler = handler
        self._names = names
        self._own: set[logging.Logger] = set()

    def check(self) -> None:
        """Look at all loggers that there are now."""
        for logger in list(self._own):
            if logger.propagate and logger.parent is not None and self._reaches(logger.parent):
                logger.removeHandler(self._handler)  # else each record would come twice
                self._own.discard(logger)
        for found in list(logging.Logger.manager.loggerDict.values()):
            if isinstance(found, logging.Logger) and self._is_meant(found.name):
                self._cover(found)

    def take_back(self) -> None:
        """Remove the handler again."""
        while self._own:
            self._own.pop().removeHandler(self._handler)

    def _is_meant(self, name: str) -> bool:
        return any(each in ("*", name) or name.startswith(f"{each}.") for each in self._names)

    def _cover(self, logger: logging.Logger) -> None:
        if not self._reaches(logger):
            way = _way_of(logger)
            *_, highest = (each for each in way if each.parent is None or self._is_meant(each.name))
            highest.addHandler(self._handler)
            self._own.add(highest)

    def _reaches(self, logger: logging.Logger) -> bool:
        """Tell whether a logger's records come to the handler."""
        return any(self._handler in each.handlers for each in _way_of(logger))


def _way_of(logger: logging.Logger) -> list[logging.Logger]:
    """Return the loggers whose handlers get a logger's records."""
    way = [logger]
    while way[-1].propagate and way[-1].parent is not None:
        way.append(way[-1].parent)
    return way
