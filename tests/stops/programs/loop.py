"""The same as script.py on an event loop: asyncio's, or that of the module in the argument."""

import asyncio
import importlib
import os
import signal
import sys

from application import DIRECTORY, log, progress

import logship

logship.install(level="INFO")
came: list[int] = []


def note() -> None:
    came.append(1)
    progress("own handler")


async def main() -> None:
    # Without a handler of the program's own too: from now on the loop owns the wake-up descriptor.
    signum = signal.Signals[os.environ.get("OWN", "SIGUSR1")]
    asyncio.get_running_loop().add_signal_handler(signum, note)
    while not came and not (DIRECTORY / "go-end").exists():
        log("at work")
        await asyncio.sleep(0.002)
    log("last words")


importlib.import_module(sys.argv[1]).run(main())
sys.exit(7)
