"""Reads a container's command: which shell runs it, how many workers, how long it waits."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from itertools import dropwhile, takewhile, zip_longest

from logship._deployment.linting.model import Container, Platform, Unit
from logship._deployment.linting.shapes import count_or_none, number_or_none
from logship._settings import Settings, variable_name
from logship._signal_names import signal_number
from logship.errors import SettingsError

_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
_INITS = ("tini", "docker-init", "catatonit")
_INIT_VALUES = re.compile(r"-[pe]")
"""Options of an init that take a value; the next two are those of `env` and of a shell."""
_ENV_VALUES = re.compile(r"-[uC]")
_SHELL_VALUES = re.compile(r"[-+]\w*[oO]|--(rc|init-)file")
_GUNICORN_SECONDS = 30.0
_MAPPED = re.compile(r"--signal-map[= ]([\w+-]+):([\w+-]+)")
_SCRIPT_NAME = re.compile(r"\.(sh|bash)$|entry-?point(?!.*\.(py|js|rb)$)", re.IGNORECASE)
_PATH = re.compile(r"[\w./@%+:-]{0,200}[./]\w{1,40}")
"""Of a script; other words may be options' values, or hold a secret."""
_NPM_COMMANDS = ("start", "run", "run-script", "exec", "test")

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
    words = _without_init(container.words)
    if not words or _base(words[0]) not in _SHELLS:
        return None
    end = _end_of_options(words, _SHELL_VALUES)
    has_script = any(re.fullmatch(r"-\w*c\w*", each) for each in words[1:end])
    return words[end] if has_script and end < len(words) else None


def _without_init(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words behind what starts a program; none if that signals the whole group.

    That is an init, `env` or `logship run`.
    """
    if words and _base(words[0]) in _INITS:
        end = _end_of_options(words, _INIT_VALUES)
        if any(re.fullmatch(r"-\w*g\w*", each) for each in words[1:end]):
            return ()
        words = words[end:]
    if words and _base(words[0]) == "env":
        words = words[_end_of_options(words, _ENV_VALUES) :]
        words = tuple(dropwhile(lambda word: "=" in word, words))
    if words and _base(words[0]) == "logship" and "--" in words:
        end = words.index("--")
        words = () if "--signal-group" in words[:end] else words[end + 1 :]
    return words


def _end_of_options(words: tuple[str, ...], with_value: re.Pattern[str]) -> int:
    """Return the index of the first word that is not an option of the program `words[0]`."""
    index = 1
    while index < len(words) and words[index].startswith(("-", "+")):
        if words[index] == "--":
            return index + 1
        index += 2 if with_value.fullmatch(words[index]) else 1
    return index


def script_file(container: Container) -> str | None:
    """Return the path of a shell script that a container starts with, or None."""
    words = _without_init(container.words)
    if not words or shell_script(container) is not None:
        return None
    path = words[0]
    if _base(path) in _SHELLS:
        path = next(iter(words[_end_of_options(words, _SHELL_VALUES) :]), "")
    elif not _SCRIPT_NAME.search(_base(path)):
        return None
    return path if _PATH.fullmatch(path) else None


def npm_script(container: Container) -> bool:
    """Return whether npm starts the program."""
    words = _without_init(container.words)
    return len(words) > 1 and _base(words[0]) == "npm" and words[1] in _NPM_COMMANDS


def stop_setting_seconds(unit: Unit, container: Container) -> float | None:
    """Return the stop timeout that logship assumes; None if the file does not show it."""
    given = option_of(container, "--stop-timeout")
    if given is not None:
        return number_or_none(given)
    if container.is_empty(variable_name("stop_timeout_seconds")):
        return 9.0 if unit.platform == Platform.COMPOSE else 30.0
    settings = settings_with(container, "stop_timeout_seconds")
    return settings.stop_timeout_seconds if settings else None


def stop_signals(container: Container) -> set[int] | None:
    """Return the signals that ask logship to stop; None if the file does not show them."""
    settings = settings_with(container, "stop_signals")
    if settings is None:
        return None
    mapped = (signal_number(word) for pair in _MAPPED.findall(container.line) for word in pair)
    return {*settings.stop_signals_or_default, *filter(None, mapped)}


def settings_with(container: Container, name: str) -> Settings | None:
    """Return settings with one of a container; None if the file hides it, or it is wrong."""
    variable = variable_name(name)
    text = "" if container.is_unset(variable) else container.environment.get(variable)
    return None if text is None else settings_from((variable, text))


@functools.lru_cache(maxsize=16)
def settings_from(*variables: tuple[str, str]) -> Settings | None:
    """Return settings with these variables; None if a value is wrong, which another rule tells."""
    try:
        return Settings.from_env(dict(variables))
    except SettingsError:
        return None


def gunicorn_seconds(container: Container) -> float | None:
    """Return gunicorn's graceful timeout; None without gunicorn, or if the file hides it."""
    words = _words_of(container, "gunicorn")
    if not words:
        return None
    given = _option(words, ("--graceful-timeout",))
    if given is not None:
        return number_or_none(given)
    return None if _option(words, ("-c", "--config")) else _GUNICORN_SECONDS


def workers_of(container: Container) -> int:
    """Return how many processes of a container have a buffer; 1 if the file does not say."""
    for program, options in _WORKER_OPTIONS.items():
        if words := _words_of(container, program):
            is_told = program in ("gunicorn", "uvicorn")
            default = container.value("WEB_CONCURRENCY") if is_told else None
            return count_or_none(_option(words, options) or default) or 1
    return 1


def _words_of(container: Container, program: str) -> list[str]:
    """Return a command's words from a program's name on; none if it does not start the program.

    Those of gunicorn's variable come first, because its command line wins.
    """
    words = [*dropwhile(lambda word: _base(word) != program, container.line.split())]
    variable = container.value("GUNICORN_CMD_ARGS") if program == "gunicorn" else None
    return [*(variable or "").split(), *words] if words else []


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
    """Return the value of an option of a container's `logship` command, or None.

    What is behind `--` is for the command that `logship run` starts.
    """
    words = takewhile(lambda word: word != "--", _words_of(container, "logship"))
    return _option([*words], (name,))


def _base(word: str) -> str:
    return word.rpartition("/")[2]
