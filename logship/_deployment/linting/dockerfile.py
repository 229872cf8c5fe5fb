"""Dockerfiles: what an image that is built of one starts, and by which signal it is stopped.

Only the last stage counts, with what it inherits from stages before it. An image that comes from
elsewhere shows nothing. An argument of the build counts as its default.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import ChainMap, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from logship._deployment.linting.marks import LintError
from logship._deployment.linting.model import Container, Platform, Unit
from logship._deployment.linting.shapes import COMMAND_CHARACTERS_MAX

_NAMES = re.compile(r"(?:.*\.)?(?:Dockerfile|Containerfile)(?:\..*)?", re.IGNORECASE)
_CONTENT = re.compile(r"(?:[ \t\r]*(?:#[^\n]*|ARG[ \t][^\n]*)?\n)*+[ \t]*FROM[ \t]+\S")
"""What it begins with, if its name does not show it."""
_INSTRUCTION = re.compile(
    r"(FROM|RUN|ARG|ENV|SHELL|ENTRYPOINT|CMD|STOPSIGNAL)\s+(.*)", re.IGNORECASE | re.DOTALL
)
_ESCAPE = re.compile(
    r"(?:#[ \t]*\w+[ \t]*=[^\n]*\n)*?#[ \t]*escape[ \t]*=[ \t]*(\S)", re.IGNORECASE
)
_HEREDOC = re.compile(r"<<-?[\"']?(\w+)[\"']?")
_TAKES_HEREDOC = re.compile(r"\s*(RUN|COPY|ADD)\b", re.IGNORECASE)
_PAIR = re.compile(r"""([\w.-]+)=((?:"(?:[^"\\]|\\.)*+"|'[^']*+'|\\.|[^\s"'\\])*+)""", re.DOTALL)
_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^}$]*))?\})")
_QUOTES = re.compile(r"""["']|\\(?=["' ])""")
_INSTALLER = re.compile(r"(?:.*/)?(?:pip[\d.]*|pipx|uv|poetry|pdm)")
_OTHER_PACKAGE = re.compile(r"""["']?logship(?:[\[=<>~!;].*|["']?)""", re.IGNORECASE)
"""Of another project: a file, a path and `logship-forward` are not meant."""

_OTHERS = (".dockerignore", ".yaml", ".yml", ".json", ".conf")

STAGES_MAX: Final = 1000
"""In one Dockerfile: each has a copy of the variables of the stage it is made from."""
VARIABLES_MAX: Final = 1000
"""In one stage."""


@dataclass(slots=True)
class _Stage:
    """A stage of the build, as far as it is known.

    Attributes:
        image: The image from elsewhere that it begins with.
        environment: Values by name; None if unknown. A child gets a copy, as of `lines`.
        arguments: Of the build, which hold in this stage alone.
        shell: What runs commands that are not a list of words.
        entrypoint: Its words.
        is_shell_form: Whether the entrypoint is for the shell, which ignores the command.
        command: Its words.
        is_own_command: Whether it is from this stage: an entrypoint removes an inherited one.
        stop_signal: As written.
        lines: Of its instructions by name, of its variables as `$NAME`, of its FROM as "".
    """

    image: str = ""
    environment: dict[str, str | None] = field(default_factory=dict)
    arguments: dict[str, str | None] = field(default_factory=dict)
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    entrypoint: tuple[str, ...] = ()
    is_shell_form: bool = False
    command: tuple[str, ...] = ()
    is_own_command: bool = False
    stop_signal: str | None = None
    lines: dict[str, int] = field(default_factory=dict)

    def child(self, image: str, line: int) -> _Stage:
        """Return a stage that begins with what this one has."""
        return dataclasses.replace(
            self,
            image=image,
            environment=dict(self.environment),
            arguments={},
            is_own_command=False,
            lines={**self.lines, "": line},
        )

    def read(self, instruction: str, rest: str, line: int) -> None:
        """Do what an instruction says."""
        words = _exec_form(rest)
        if instruction == "ARG":
            for each in rest.split():
                name, sign, value = each.partition("=")
                self.arguments[name] = self.filled(value) if sign else None
        elif instruction == "ENV":
            values = {name: self.filled(value) for name, value in _pairs(rest)}
            self.environment |= values
            self.lines |= {f"${name}": line for name in values}
        elif instruction == "SHELL":
            self.shell = words or self.shell
        elif instruction == "ENTRYPOINT":
            self.is_shell_form = words is None
            self.entrypoint = (*self.shell, rest) if words is None else words
            if not self.is_own_command:  # that of the image below does not hold any more
                self.command = ()
        elif instruction == "CMD":
            self.command = (*self.shell, rest) if words is None else words
            self.is_own_command = True
        elif instruction == "STOPSIGNAL":
            self.stop_signal = self.filled(rest)
        self.lines[instruction] = line
        if len(self.environment) + len(self.arguments) > VARIABLES_MAX:
            raise LintError(f"a stage has more than {VARIABLES_MAX:,} variables")

    def filled(self, text: str) -> str | None:
        """Return a text with the values of its variables; None if one is unknown."""
        values = ChainMap(self.environment, self.arguments)
        is_known = True

        def value(found: re.Match[str]) -> str:
            nonlocal is_known
            given = values.get(found[1] or found[2]) or found[3]
            is_known = is_known and given is not None
            return given or ""

        filled = _REFERENCE.sub(value, _QUOTES.sub("", text))
        if len(filled) > COMMAND_CHARACTERS_MAX:
            raise LintError(f"a value is longer than {COMMAND_CHARACTERS_MAX // 1024} KiB")
        return filled if is_known else None


def is_dockerfile(name: str, text: str) -> bool:
    """Return whether a file is one, by its name or by an instruction FROM."""
    own = name.rpartition("/")[2]
    return bool(_NAMES.fullmatch(own) or _CONTENT.match(text)) and not own.endswith(_OTHERS)


def read_dockerfile(name: str, text: str) -> Unit:
    """Return the image of a Dockerfile as a unit of one container.

    Raises:
        LintError: It has no stage, or something in it is above a limit.
    """
    last, lines = _last_stage(text)
    own = name.rpartition("/")[2]
    container = Container(
        name=own,
        image=last.image,
        words=last.entrypoint + (() if last.is_shell_form else last.command),
        environment=last.environment,
        stop_signal=last.stop_signal,
        installs_other_package=bool(lines),
        lines=last.lines | lines,
    )
    return Unit(
        platform=Platform.DOCKERFILE, name=own, containers=(container,), lines={"": last.lines[""]}
    )


def _last_stage(text: str) -> tuple[_Stage, dict[str, int]]:
    """Return it, and the line of the first RUN of any stage that installs another `logship`."""
    stages: dict[str, _Stage] = {}
    installs: dict[str, int] = {}
    before = _Stage()  # its arguments hold for FROM alone
    stage = before
    count = 0
    for line, instruction, rest in _instructions(text):
        if instruction == "FROM":
            count += 1
            if count > STAGES_MAX:
                raise LintError(f"it has more than {STAGES_MAX:,} stages")
            stage = _begun(rest, line, before, stages)
        elif instruction == "RUN":
            if any(map(_installs_other, re.split(r"[;&|]", rest))):
                installs.setdefault("RUN", line)
        else:
            stage.read(instruction, rest, line)
    if stage is before:
        raise LintError("it is not a Dockerfile: it has no FROM")
    return stage, installs


def _begun(rest: str, line: int, before: _Stage, stages: dict[str, _Stage]) -> _Stage:
    words = [each for each in rest.split() if not each.startswith("--")]
    image = before.filled(words[0] if words else "") or ""
    parent = stages.get(image.lower(), _Stage())
    stage = parent.child(parent.image or image, line)
    if len(words) == 3 and words[1].upper() == "AS":
        stages[words[2].lower()] = stage
    return stage


def _installs_other(command: str) -> bool:
    words = command.split()
    if "install" not in words and "add" not in words:
        return False
    return any(map(_INSTALLER.fullmatch, words)) and any(map(_OTHER_PACKAGE.fullmatch, words))


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, name and the rest of each instruction that matters."""
    for line, instruction in _logical_lines(text):
        if found := _INSTRUCTION.match(instruction):
            name = found[1].upper()
            if name != "RUN" and len(instruction) > COMMAND_CHARACTERS_MAX:
                limit = f"{COMMAND_CHARACTERS_MAX // 1024} KiB"
                raise LintError(f"line {line} is longer than {limit}")
            yield line, name, found[2].strip()


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with those that continue them; comments and here-documents are left out."""
    found = _ESCAPE.match(text)
    escape = found[1] if found else "\\"
    lines = [each.strip() for each in text.split("\n")]
    last = {each: number for number, each in enumerate(lines, start=1)}
    ends: deque[str] = deque()  # of here-documents that have begun
    parts: list[str] = []
    begun = 1
    for number, line in enumerate(lines, start=1):
        while ends and last.get(ends[0], 0) < number:
            ends.popleft()  # it does not come, so nothing has begun
        if ends:
            if line == ends[0]:
                ends.popleft()
        elif not line.startswith("#") and (line or not parts):
            begun = begun if parts else number
            parts.append(line.removesuffix(escape))
            if not line.endswith(escape):
                whole, parts = " ".join(parts), []
                yield begun, whole
                if _TAKES_HEREDOC.match(whole):
                    ends.extend(_HEREDOC.findall(whole))
    if parts:
        yield begun, " ".join(parts)


def _pairs(rest: str) -> list[tuple[str, str]]:
    """Return names and values of an ENV."""
    if re.match(r"[\w.-]+=", rest):
        return _PAIR.findall(rest)
    name, _, value = rest.replace("\t", " ").partition(" ")  # the old form: ENV NAME the rest
    return [(name, value.strip())]


def _exec_form(rest: str) -> tuple[str, ...] | None:
    """Return the words of a JSON list; None for the form that a shell reads."""
    if not rest.startswith("["):
        return None
    try:
        words = json.loads(rest)
    except (ValueError, RecursionError):
        return None
    return tuple(str(each) for each in words) if isinstance(words, list) else None
