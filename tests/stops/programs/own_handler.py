"""A handler of the program's own for the signal OWN; it calls the handler that it replaces."""

import os
import signal
from types import FrameType

from application import progress

came: list[int] = []


def note(signum: int, frame: FrameType | None) -> None:
    came.append(signum)
    progress("own handler")
    if callable(found) and found is not signal.default_int_handler:
        found(signum, frame)


found = None
if "OWN" in os.environ:
    found = signal.signal(signal.Signals[os.environ["OWN"]], note)
