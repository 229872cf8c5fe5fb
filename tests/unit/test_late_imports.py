"""A late import is whole before a fork: the child finds no module locked by a thread it has not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_SLOW = """\
import __main__

__main__.importing.set()
__main__.go_on.wait(30)
__main__.forked.wait(0.5)  # in vain, if the fork waits for this import
whole = True
"""

_PROGRAM = """\
import os, signal, sys, threading

importing, go_on, forked = threading.Event(), threading.Event(), threading.Event()

from logship._hooks import late_imports
import logship

os.register_at_fork(before=go_on.set, after_in_parent=forked.set)  # `before`: the last is first
thread = threading.Thread(target=late_imports.late, args=("slow",))
thread.start()
importing.wait(30)
child = os.fork()
if not child:
    signal.alarm(10)  # to be told apart from whatever else takes long
    import slow
    late_imports.late("slow")
    os._exit(0 if slow.whole else 1)
_, status = os.waitpid(child, 0)
thread.join(30)
late_imports.late("json")  # the parent's lock is free again
print(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_waits_for_a_late_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PROGRAM],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout.strip() == "0", f"-{signal.SIGALRM:d} is a child that waits for ever"
