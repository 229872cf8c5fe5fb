"""Reads a container's command: which shell runs it, how many workers, how long it waits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest

from logship.deployment.linting.model import COMPOSE, Container, Unit
from logship.deployment.linting.quantities import count_or_none, number_or_none
from logship.errors import SettingsError
from logship.settings import Settings
from logship.signal_names import signal_number

_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_INITS = ("tini", "docker-init", "catatonit")
_GUNICORN_SECONDS = 30.0
_MAPPED = re.compile(r"--signal-map[= ]([\w+-]+):([\w+-]+)")
_ENDS_OF_COMMANDS = re.compile(r"&&|\|\||;|\n")

_WORKER_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "gunicorn": ("-w", "--workers"),
    "uvicorn": ("--workers",),
    "hypercorn": ("-w", "--workers"),
    "celery": ("-c", "--concurrency"),
    "uwsgi": ("-p", "--processes", "--workers"),
}
"""The same letter means other things to other programs."""


def shell_script(container: Container) -> str | None:
    """Return the script of a shell; None without a shell, or if it passes signals on."""
    words = container.words
    if words and _base(words[0]) in _INITS:
        if "-g" in words[1:3]:  # the signal goes to the whole group
            return None
        words = tuple(word for word in words[1:] if word != "--")
    if not words or _base(words[0]) not in _SHELLS:
        return None
    for index, word in enumerate(words[1:-1], start=1):
        if re.fullmatch(r"-\w*c", word):
            return words[index + 1]
    return None


def is_pipeline(script: str) -> bool:
    """Return whether a script's last command is a pipeline, which `exec` cannot replace."""
    last = _ENDS_OF_COMMANDS.split(script.strip().rstrip(";"))[-1]
    return "|" in last


def has_pipeline(script: str) -> bool:
    """Return whether any command of a script is a pipeline; it may be the long running one."""
    return any("|" in each for each in _ENDS_OF_COMMANDS.split(script))


def hands_over(script: str) -> bool:
    """Return whether a script's last command replaces the shell, or the shell has a trap."""
    commands = [each.strip() for each in _ENDS_OF_COMMANDS.split(script) if each.strip()]
    if not commands or re.search(r"\btrap\b", script):
        return True
    return commands[-1].startswith("exec ") and not is_pipeline(script)


def stop_setting_seconds(unit: Unit, container: Container) -> float | None:
    """Return the stop timeout that logship assumes; None if the file does not show it."""
    given = _option(container.line.split(), ("--stop-timeout",))
    if given is None:
        name = "LOGSHIP_STOP_TIMEOUT_SECONDS"
        if name in container.environment:
            given = container.value(name) or "unknown"
    if given is None:
        return 9.0 if unit.platform == COMPOSE else 30.0
    return number_or_none(given)


def stop_signals(container: Container) -> set[int] | None:
    """Return the signals that ask logship to stop; None if the file does not show them."""
    name = "LOGSHIP_STOP_SIGNALS"
    text = container.value(name)
    if name in container.environment and text is None:
        return None
    try:
        settings = Settings.from_env({} if text is None else {name: text})
    except SettingsError:  # another rule tells
        return None
    mapped = (signal_number(word) for pair in _MAPPED.findall(container.line) for word in pair)
    return {*settings.stop_signals_or_default, *filter(None, mapped)}


def gunicorn_seconds(container: Container) -> float | None:
    """Return gunicorn's graceful timeout; None without gunicorn."""
    if not _runs(container, "gunicorn"):
        return None
    arguments = container.value("GUNICORN_CMD_ARGS") or ""
    words = [*container.line.split(), *arguments.split()]
    given = _option(words, ("--graceful-timeout",))
    seconds = number_or_none(given)
    return _GUNICORN_SECONDS if seconds is None else seconds


def workers_of(container: Container) -> int:
    """Return how many processes of a container have a buffer; 1 if the file does not say."""
    arguments = container.value("GUNICORN_CMD_ARGS") or ""
    words = [*container.line.split(), *arguments.split()]
    for program, options in _WORKER_OPTIONS.items():
        if _runs(container, program):
            given = _option(words, options) or container.value("WEB_CONCURRENCY")
            return count_or_none(given) or 1
    return 1


def _runs(container: Container, program: str) -> bool:
    return any(_base(word) == program for word in container.line.split())


def _option(words: list[str], names: tuple[str, ...]) -> str | None:
    """Return the last value given to an option: `--name 3`, `--name=3`, `-w3`."""
    found = None
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        for name in names:
            if word == name:
                found = following
            elif word.startswith(f"{name}="):
                found = word.partition("=")[2]
            elif len(name) == 2 and word.startswith(name) and word[2:].isdigit():
                found = word[2:]
    return found.strip("'\"") if found else None


def option_of(container: Container, name: str) -> str | None:
    """Return the value of an option in a container's command, or None."""
    return _option(container.line.split(), (name,))


def _base(word: str) -> str:
    return word.rpartition("/")[2]
