"""A late import is whole before a fork: the child finds no module locked by a thread it has not."""

from __future__ import annotations

import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.commands import ran

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

_DOES_MEANWHILE = """\
import logging.config, os, threading
import logship

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def make_handler():
    other.start()
    other.join(0.5)  # in vain where it waits for the lock of `logging`
    logship.install()
    return logship.installed_handler()

def configure():
    handlers = {"logship": {"()": make_handler}}
    logging.config.dictConfig({"version": 1, "handlers": handlers})

logship.BackgroundClient(disabled=True)  # which imports what `install` needs
other = threading.Thread(target=OTHER, daemon=True)
thread = threading.Thread(target=configure, daemon=True)
thread.start()
thread.join(10)
other.join(10)
late = threading.Thread(target=logging.getLogger, args=("new",), daemon=True)
late.start()
late.join(10)
print(thread.is_alive(), other.is_alive(), late.is_alive())
"""

_FORKS_IN_A_FORK = """\
import os, threading

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def fork_once_more():
    forks_left.pop() and fork()

forks_left = [False, True]
os.register_at_fork(before=fork_once_more)  # runs behind logship's, because the first is the last
import logship
from logship._hooks import late_imports

fork()
thread = threading.Thread(target=late_imports.late, args=("json",), daemon=True)
thread.start()
thread.join(10)
print(thread.is_alive(), forks_left)
"""

_CONFIGURES_MEANWHILE = """\
import logging.config, threading
import logship
from logship._hooks import late_imports

def make_handler():
    late = threading.Thread(target=late_imports.late, args=("makes_a_logger",), daemon=True)
    late.start()
    late.join(0.5)  # it waits for the lock of `logging`
    logship.install()
    return logship.installed_handler()

def configure():
    handlers = {"logship": {"()": make_handler}}
    logging.config.dictConfig({"version": 1, "handlers": handlers})

logship.install()
thread = threading.Thread(target=configure, daemon=True)
thread.start()
thread.join(10)
print(thread.is_alive())
"""

_SLOW_OUTSIDE_OF_THE_MAIN_THREAD = f"""\
import threading

if threading.current_thread() is not threading.main_thread():
{textwrap.indent(_SLOW, "    ")}
"""

_LOOKS_A_HOST_UP = """\
import logging, os, signal, socket, sys, threading

importing, go_on, forked = threading.Event(), threading.Event(), threading.Event()
server = socket.create_server(("127.0.0.1", 0))

import logship

os.register_at_fork(before=go_on.set, after_in_parent=forked.set)  # `before`: the last is first
client = logship.install(level="INFO", last_resort="none", SETTINGS)
logging.info("hi")
while not importing.wait(0.01) and "stringprep" not in sys.modules:
    pass
child = os.fork()
if not child:
    signal.alarm(10)  # to be told apart from whatever else takes long
    try:
        socket.getaddrinfo("127.0.0.1", 0)
    except LookupError:
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
client.close(timeout=0)
"""


def _output_of(program: str, directory: Path) -> str:
    python = (sys.executable, "-W", "ignore::DeprecationWarning", "-c")
    return ran(*python, program, cwd=directory).stdout.strip()


def test_a_fork_waits_for_a_late_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW)
    told = f"-{signal.SIGALRM:d} is a child that waits for ever"
    assert _output_of(_PROGRAM, tmp_path) == "0", told


@pytest.mark.parametrize(
    "settings",
    [
        "metrics_port=0, metrics_dir=os.path.abspath('pages')",
        "endpoints=f'tls://127.0.0.1:{server.getsockname()[1]}'",
    ],
)
def test_a_child_can_look_a_host_up_that_is_forked_as_logship_begins(
    tmp_path: Path, settings: str
) -> None:
    """Python imports the codec of host names when one is first needed, here a slow one.

    In a child that is forked in the middle of that, each look-up of the application would wait for
    the import for ever, or fail with `unknown encoding: idna`.
    """
    (tmp_path / "stringprep.py").write_text(_SLOW_OUTSIDE_OF_THE_MAIN_THREAD)
    told = f"-{signal.SIGALRM:d} is a child that waits for ever"
    assert _output_of(_LOOKS_A_HOST_UP.replace("SETTINGS", settings), tmp_path) == "0", told


@pytest.mark.parametrize("other", ["fork", "logship.install"])
def test_another_thread_forks_or_installs_while_dict_config_installs(
    tmp_path: Path, other: str
) -> None:
    program = _DOES_MEANWHILE.replace("OTHER", other)
    assert _output_of(program, tmp_path) == "False False False"


def test_a_signal_handler_that_forks_in_the_middle_of_a_fork(tmp_path: Path) -> None:
    """As one for SIGCHLD does that starts a child again. Other threads can import afterwards."""
    assert _output_of(_FORKS_IN_A_FORK, tmp_path) == "False []"


def test_an_install_in_dict_config_while_a_module_that_makes_a_logger_is_imported(
    tmp_path: Path,
) -> None:
    """As tornado does, which the shipper's first wait imports where there is one."""
    (tmp_path / "makes_a_logger.py").write_text("import logging; logging.getLogger('new')")
    assert _output_of(_CONFIGURES_MEANWHILE, tmp_path) == "False"
