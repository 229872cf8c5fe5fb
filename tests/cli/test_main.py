"""Suggestions, the version, completion and colours."""

from __future__ import annotations

import importlib
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from logship import __version__
from logship._cli import COMMANDS, main
from tests.support.commands import ran, ran_python

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("logship")
ESCAPE = b"\x1b["


@pytest.mark.parametrize(
    ("mistyped", "meant"), [("adit", "audit"), ("recieve", "receive"), ("recovery", "recover")]
)
def test_a_mistyped_command_gets_a_suggestion(mistyped: str, meant: str) -> None:
    result = CliRunner().invoke(main, [mistyped])
    assert result.exit_code == 2
    assert f"No such command '{mistyped}'. Did you mean '{meant}'?" in result.output


@pytest.mark.parametrize("words", [[], ["audit"], ["nothing"]])
def test_help_is_also_a_word(words: list[str]) -> None:
    told = CliRunner().invoke(main, ["help", *words])
    wanted = CliRunner().invoke(main, [*words, "--help"])
    assert (told.exit_code, told.output) == (wanted.exit_code, wanted.output)


def test_recover_without_a_spool_names_the_variable_too() -> None:
    result = CliRunner().invoke(main, ["recover"], env={"LOGSHIP_SPOOL_DIR": ""})
    assert result.exit_code == 2
    assert "Missing option '--spool' (env var: 'LOGSHIP_SPOOL_DIR')." in result.output


@pytest.mark.parametrize(
    "words", [("recover", "--spool", ""), ("run", "--receipt", "", "true"), ("audit", "")]
)
def test_a_path_without_a_name_is_not_the_working_directory(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.output.endswith(": it has no name\n")


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "--watch", "--interval", "inf", "out"),
        ("doctor", "--wait", "nan"),
        ("receive", "--idle-timeout", "nan"),
        ("run", "--orphan-wait", "nan", "true"),
        ("top", "--interval", "nan"),
    ],
)
def test_a_time_is_a_finite_number(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.output.endswith(" is not a finite number\n")


def test_ctrl_c_while_a_command_is_imported_has_its_own_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert CliRunner().invoke(main, ["audit", "out.log"]).exit_code == 130


def test_a_command_like_no_other_gets_the_list() -> None:
    result = CliRunner().invoke(main, ["xyzzy"])
    assert result.exit_code == 2
    assert f"Give one of {', '.join(COMMANDS)}." in result.output


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    assert CliRunner().invoke(main, [option]).output == f"logship, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_its_purpose_and_its_exit_codes(name: str) -> None:
    text = CliRunner().invoke(main, [name, "--help"]).output
    assert "Exit codes" in text


@pytest.mark.parametrize(
    ("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")]
)
def test_the_documented_command_prints_a_script_that_the_shell_accepts(
    shell: str, check: str, tmp_path: Path
) -> None:
    page = (REPOSITORY / "docs/cli.md").read_text("utf-8")
    variable = re.search(rf"_LOGSHIP_COMPLETE=({shell}_source) logship", page)
    assert variable
    script = tmp_path / "script"
    environ = os.environ | {"_LOGSHIP_COMPLETE": variable[1]}
    script.write_text(ran(SCRIPT, env=environ).stdout)
    assert "logship" in script.read_text()
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed; its script was printed and not checked")
    ran(program, check, script)


@pytest.mark.parametrize(
    ("words", "offered"), [("logship au", "audit"), ("logship run --te", "--tee")]
)
def test_completion_offers_commands_and_options(words: str, offered: str) -> None:
    count = len(words.split()) - 1
    environ = os.environ | {
        "_LOGSHIP_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(count),
    }
    assert ran(SCRIPT, env=environ, code=None).stdout == f"plain,{offered}\n"


@pytest.mark.parametrize("words", [["pipe"], ["run", "true"], ["recover", "--spool", "."]])
def test_a_setting_whose_mistake_is_noticed_late_is_wrong_usage(
    words: list[str], tmp_path: Path
) -> None:
    variables = {"LOGSHIP_ENDPOINTS": "tls://127.0.0.1:1", "LOGSHIP_TLS_CA": "/missing"}
    options = {"env": os.environ | variables, "stdin": subprocess.DEVNULL, "cwd": tmp_path}
    ended = ran(SCRIPT, *words, code=2, **options)
    assert "Error: tls_ca (LOGSHIP_TLS_CA): cannot use /missing: No such file" in ended.stderr


@pytest.mark.parametrize("words", [["pipe"], ["recover", "--spool", "."]])
def test_a_stop_signal_after_the_end_changes_no_exit_code(words: list[str], tmp_path: Path) -> None:
    program = """
import os
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, 15)  # when the interpreter has given the signals back
last = Last()
from logship._cli import main
main()
"""
    ran_python(program, *words, stdin=subprocess.DEVNULL, cwd=tmp_path)


def on_a_terminal(*words: str | Path, **variables: str) -> bytes:
    """Return what a command prints on a terminal."""
    terminal, side = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environ |= {"TERM": "xterm", **variables}
    subprocess.run(words, stdout=side, stderr=side, stdin=side, env=environ, check=False)
    os.close(side)
    printed = os.read(terminal, 65536)
    os.close(terminal)
    return printed


def test_colours_are_on_a_terminal_and_nowhere_else(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    words = (SCRIPT, "audit", empty)
    assert ESCAPE in on_a_terminal(*words)
    assert ESCAPE not in on_a_terminal(*words, NO_COLOR="1")
    assert ESCAPE not in on_a_terminal(*words, TERM="dumb")
    piped = subprocess.run(words, capture_output=True, check=False)
    assert piped.stdout.startswith(b"NO RECORDS:")
    assert ESCAPE not in piped.stdout
