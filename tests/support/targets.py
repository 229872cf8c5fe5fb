"""What a wrapper does at its end: it becomes the program that it prepared the process for."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence


def become(target: Sequence[str]) -> None:
    """Run `logship` with its arguments, or a Python file with its own, in this process."""
    sys.argv = [*target]
    if target[0] == "logship":
        from logship._cli import main

        main()
    else:
        runpy.run_path(target[0], run_name="__main__")
