"""Runs the blocks of a page, in their order, as a reader would who copies them into a shell.

A block's language is what it is. `python` and `console` blocks run, and the console's output must
be as the page has it: `…` stands for anything. The second word behind the fence is a file's name,
under which a block is stored for later commands, or one of `KINDS`, which do not run.

A page that starts no sidecar finds one at the default endpoint. All blocks see another port there
than the page says, so that pages may be tested at the same time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.documentation.pages import Block, blocks_of
from tests.support.programs import REPOSITORY
from tests.support.receiver_process import ReceiverProcess

KINDS = {
    "fragment": "a part of a program; only its syntax is checked",
    "foreign": "needs a program or a service of another project",
    "docker": "needs Docker and a registry of images",
    "aws": "needs an AWS account or a task",
    "deployment": "needs a deployed application",
    "minutes": "takes minutes",
    "machine": "changes the machine or the Python that it runs in",
    "recorded": "a run that cannot be repeated to the letter",
}
"""Kinds of blocks that do not run, and why not."""

RUN = ("python", "console")
PORT = "24224"
STREAM = "KjRTJ0mD-YV2"
"""The stream of the examples."""

SECONDS_MAX = 120.0
SHOWN_MAX = 3000
"""Characters of an output that a failure shows."""

_MARK = "\x1e"
_UNTIL_IT_LISTENS = f"""
for _ in {{1..400}}; do (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null && break; sleep 0.05; done
"""
_OF_THE_SHELL = re.compile(r"^bash: line \d+: +\d+ Killed .*\n?", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """What a shell is given, and what it should print.

    Attributes:
        text: The command.
        expected: Its output on the page; None if the page says nothing of it.
        place: Where it is.
    """

    text: str
    expected: str | None
    place: str


def runnable_blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that run, or are stored."""
    return [
        each
        for each in blocks_of(page)
        if each.mark not in KINDS and (each.language in RUN or each.mark)
    ]


def commands_of(block: Block) -> Iterator[Command]:
    """Yield a block's commands."""
    if block.language != "console":
        name = block.mark or f"block-{block.line}.py"
        yield Command(f"cat > {name} <<'END-OF-BLOCK'\n{block.text}END-OF-BLOCK", None, block.place)
        if not block.mark:
            yield Command(f"python {name}", None, block.place)
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        whole = re.match(r"(?:.*\\\n)*.*\n", part)
        assert whole is not None, block.place
        yield Command(whole[0].rstrip("\n"), part[whole.end() :], block.place)


def run(page: Path, directory: Path, default: Callable[[], ReceiverProcess]) -> list[str]:
    """Run a page's blocks in a directory, and return what is not as the page says.

    Args:
        page: The page.
        directory: An empty directory.
        default: Returns the sidecar at the default endpoint, for a page that starts none.
    """
    blocks = runnable_blocks(page)
    commands = [command for block in blocks for command in commands_of(block)]
    starts_one = any("logship receive" in each.text for each in commands)
    return _run(commands, _free_port() if starts_one else str(default().port), directory)


def _run(commands: list[Command], port: str, directory: Path) -> list[str]:
    script = "".join(_step(each).replace(PORT, port) for each in commands)
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=_environ(directory, port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            printed, _ = shell.communicate(timeout=SECONDS_MAX)
        finally:
            _end_group(shell.pid)
    steps = printed.split(_MARK)[1:]
    return [
        fault
        for command, step in zip(commands, steps, strict=True)
        for fault in _faults(command, port, step)
    ]


def _step(command: Command) -> str:
    """Return shell code that prints a mark, runs a command, and prints its exit code.

    A reader sees when a receiver in the background listens. Here the shell looks for that.
    """
    look = _UNTIL_IT_LISTENS if "logship receive" in command.text else ""
    return f"printf '{_MARK}'\n{command.text}\nprintf '\\n%s\\n' $?\n{look}"


def _faults(command: Command, port: str, printed: str) -> Iterator[str]:
    output, _, code = _OF_THE_SHELL.sub("", printed).rstrip("\n").rpartition("\n")
    if code != "0":
        yield f"{command.place}: {command.text}: exit code {code}:\n{output[:SHOWN_MAX]}"
    elif command.expected is not None and not is_as_expected(
        command.expected.replace(PORT, port), output
    ):
        shown = f"{output[:SHOWN_MAX]}\nand not\n{command.expected}"
        yield f"{command.place}: {command.text}: prints\n{shown}"


def is_as_expected(expected: str, output: str) -> bool:
    """Tell whether an output is the expected one.

    `…` stands for anything, blanks for any number of them, and `STREAM` for any stream.
    """
    pattern = ".*".join(map(re.escape, _one_blank(expected).split("…")))
    pattern = pattern.replace(re.escape(STREAM), r"[\w-]{12}")
    return re.fullmatch(pattern, _one_blank(output), re.DOTALL) is not None


def _one_blank(text: str) -> str:
    return re.sub(" +", " ", text.strip())


def _environ(directory: Path, port: str) -> dict[str, str]:
    """Return an environment in which `logship` and `python` are those under test."""
    shims = directory / "bin"
    shims.mkdir()
    python = shlex.quote(sys.executable)
    for name, command in (("python", python), ("logship", f"{python} -m logship")):
        (shims / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (shims / name).chmod(0o755)
    return {
        "PATH": f"{shims}:{os.environ['PATH']}",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "LOGSHIP_ENDPOINTS": f"tcp://127.0.0.1:{port}",
    }


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _end_group(group: int) -> None:
    """End what the page left running in the background."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def compile_fragment(block: Block) -> None:
    """Check the syntax of a part of a program.

    Raises:
        SyntaxError: It has none.
    """
    body = textwrap.indent(block.text, "    ")
    compile(f"async def fragment():\n{body}", block.place, "exec")
