"""Logs, or prints with the argument `print`, until a signal ends it or the test lets it end."""

import sys
import time

from application import DIRECTORY, log, new_marker, write_down
from own_handler import came

if sys.argv[1:] == ["print"]:

    def say(text: str) -> None:
        marker = new_marker()
        sys.stdout.write(f"{marker} {text}\n")
        sys.stdout.flush()
        write_down(marker)

else:
    import logship

    logship.install(level="INFO")
    say = log

while not came and not (DIRECTORY / "go-end").exists():
    say("at work")
    time.sleep(0.002)
say("last words")
sys.exit(7)
