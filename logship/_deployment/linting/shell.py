"""Reads a shell script as far as a check needs it: its commands, and what the last one does."""

from __future__ import annotations

import re

_ENDS_OF_COMMANDS = re.compile(r"&&|\|\||;|\n|\s&\s")
_EXEC = re.compile(r"(?:[^)\s]*\)\s*)?(?:(?:then|else|do|\{|\w+=\S*)\s+)*exec\s+[^<>&\d\s]")
_SETS_STATUS = re.compile(r"(true|false|exit|echo)\b|:( |$)")
_ENDS_OF_BLOCKS = re.compile(r"(?:fi|esac|done)\b|\}")
_QUOTED_OR_COMMENT = re.compile(
    r"""\\.|'[^']*+'|"(?:[^"\\]|\\.)*+"|(?P<comment>(?<!\S)#[^\n]*)""", re.DOTALL
)


def shell_commands(script: str) -> list[str]:
    """Return the commands of a script without comments, each quoted text as one letter."""
    script = _QUOTED_OR_COMMENT.sub(
        lambda found: "" if found["comment"] else "_", script.replace("\\\n", " ")
    )
    return [each.strip() for each in _ENDS_OF_COMMANDS.split(script) if each.strip()]


def last_command(script: str) -> str:
    """Return the last command of a script; empty if it has none.

    What only says something or sets the exit code, such as `|| true`, is no last command.
    """
    commands = [each for each in shell_commands(script) if not _SETS_STATUS.match(each)]
    return commands[-1] if commands else ""


def has_pipeline(script: str) -> bool:
    """Return whether any command of a script is a pipeline; it may be the long running one."""
    return any("|" in each for each in shell_commands(script))


def hands_over(script: str) -> bool:
    """Return whether a script's last command replaces the shell, or the shell has a trap."""
    commands = shell_commands(script)
    if not commands or any(re.search(r"\btrap\b", each) for each in commands):
        return True
    last = last_command(script)
    is_function = re.search(rf"\b{re.escape(last.partition(' ')[0])}\s*(\(\)|{{)", script)
    if is_function or _ENDS_OF_BLOCKS.match(last):  # which branch is taken is not known
        return any(_EXEC.match(each) for each in commands)
    return bool(_EXEC.match(last)) and "|" not in last
