"""Where in a program a signal handler may raise, and where that would do harm.

Python runs handlers between any two bytecodes of the main thread: in the middle of our own code, of
the standard library's, of a destructor. An exception that is raised there leaves half done what was
under way. The places are told by the frames of the interrupted code.
"""

from __future__ import annotations

import sys
from types import CodeType, FrameType

_CRITICAL_MODULES = frozenset(
    {
        "logship.buffer.buffer",
        "logship.buffer.chunk",
        "logship.buffer.stream",
        "logship.closing",
        "logship.process.exits",
    }
)
_THRESHOLDS = frozenset({"__enter__", "__exit__"})
_STEPS_OF_CONDITIONS = frozenset({"_release_save", "_acquire_restore", "notify", "notify_all"})


def forbids(frame: FrameType | None) -> bool:
    """Tell whether nothing may be raised here, however long that takes.

    Inside the buffer's critical section it would tear an entry in two; in the middle of a client's
    end it would cut that short, and at the beginning of the exit hook skip it; in a `__del__`
    Python swallows it, 19 of 20 times in a program full of them; and in a multiprocessing child's
    end it would skip the finalizers that are left.
    """
    if _is_between_run_and_end_of_child(frame):
        return True
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_on_unraisable"):
            return True
        if _module_of(frame) in _CRITICAL_MODULES:
            return True
        if frame.f_code.co_name == "_exit_function" and _is_multiprocessing_child():
            return True  # our finalizer is among those that are left
        frame = frame.f_back
    return False


def is_delicate(frame: FrameType | None) -> bool:
    """Tell whether it would be better to raise a little later than where this frame was struck.

    On the way into a `with` block or out of it: a `threading.Condition`, and so each queue, event
    and semaphore, would stay locked for ever, and whoever waits for it would hang. Inside asyncio:
    it may just have taken a callback from its list, and the task behind that would never go on.
    """
    if frame is None:
        return False
    module, name = _module_of(frame), frame.f_code.co_name
    if name in _THRESHOLDS or (module == "threading" and name in _STEPS_OF_CONDITIONS):
        return True
    if module == "selectors":
        return name != "select"  # there it waits, and can be left at any point
    # `asyncio.runners` is all there is to be seen of a loop that is not written in Python.
    return module.startswith("asyncio.") and module != "asyncio.runners"


def struck(frame: FrameType | None, handler: CodeType) -> FrameType | None:
    """Return the frame that a signal struck first: a second one may interrupt its handler."""
    found = frame
    while frame is not None:
        if frame.f_code is handler:
            found = frame.f_back
        frame = frame.f_back
    return found


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _is_between_run_and_end_of_child(frame: FrameType | None) -> bool:
    """Tell whether a multiprocessing child has left its function and not yet begun to end."""
    here = frame is not None and frame.f_code.co_name == "_bootstrap"
    return here and _is_multiprocessing_child()


def _is_multiprocessing_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None
