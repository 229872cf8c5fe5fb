"""Becomes a program, and notes once a second what only it can see: `watched.py FILE TARGET ...`.

That is how many unfinished tasks of asyncio there are, and objects that the collector knows.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path

from tests.support.targets import become

SECONDS = 1.0


def main() -> None:
    """Watch, and become the target."""
    _, file, *target = sys.argv
    threading.Thread(target=_watch, args=(Path(file),), daemon=True, name="watch").start()
    become(target)


def _watch(file: Path) -> None:
    while True:
        objects = gc.get_objects()
        tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in objects)
        line = f"{tasks} {len(objects)}\n"
        del objects
        part = file.with_suffix(".part")
        part.write_text(line)
        part.replace(file)
        threading.Event().wait(SECONDS)


if __name__ == "__main__":
    main()
