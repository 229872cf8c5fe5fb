"""The list of settings in docs/settings.md, from the code."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import Field
from typing import Any

from logship._settings import Settings, variable_name
from logship._settings.fields import Bytes, NotAllowed, Seconds, converter_of
from tests.documentation.limits import with_unit

DEPENDS = {
    "endpoints": "`FLUENT_HOST` and `FLUENT_PORT`, else `tcp://127.0.0.1:24224`",
    "tag": "under FireLens the tag that it routes, else the program's name",
    "firelens_tag": "on where ECS has set `FLUENT_HOST` and no tag is given",
    "buffer_bytes_max": "a sixteenth of the memory limit, from 4 MiB to 64 MiB",
    "chunk_bytes_max": "512 KiB, or a sixteenth of the buffer where that is less",
    "stop_timeout_seconds": "30 s under ECS and Kubernetes, else 9 s",
    "stop_signals": "`TERM,INT`, and `QUIT,HUP` if they have their default disposition",
}
"""Defaults that depend on where the program runs."""

FORMS = {
    "endpoints": "`tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:///PATH`, with commas between",
    "tls_server_name": "a name or address, with 1 to 63 characters between its dots",
}
"""What is allowed where an error does not say it in full."""

KINDS = {
    Bytes.kind_name: "bytes, or a size with a unit",
    Seconds.kind_name: "seconds, or a duration with a unit",
}
"""Whose units the head of the page explains."""

_ATTRIBUTE = re.compile(r"^ {4}(\w+): ((?:.|\n {8})*)", re.MULTILINE)


def sections() -> str:
    """Return one section for each setting."""
    described = dict(_ATTRIBUTE.findall(inspect.getdoc(Settings) or ""))
    return "\n".join(
        "".join(_section(each, described[each.name])) for each in dataclasses.fields(Settings)
    )


def _section(each: Field[Any], description: str) -> Iterator[str]:
    yield f"## {each.name}\n\n"
    yield f"{' '.join(description.split())}\n\n"
    yield f"- Variable: `{variable_name(each.name)}`"
    if converter_of(each).from_file is not None:
        yield f", or a file that `{variable_name(each.name)}_FILE` names"
    yield f"\n- Default: {DEPENDS.get(each.name) or _default(each)}\n"
    yield f"- Allowed: {FORMS.get(each.name) or _allowed(each)}\n"


def _default(each: Field[Any]) -> str:
    value = each.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return with_unit(each.name, value) if isinstance(value, (int, float)) else f"`{value}`"


def _allowed(each: Field[Any]) -> str:
    """Return what the errors of the setting say is allowed."""
    told = dict.fromkeys(KINDS.get(text, text) for text in _refusals(each))
    return re.sub(r"True(,| or) False", r"on\1 off (`1` or `0`)", "; ".join(told)).replace("'", "`")


def _refusals(each: Field[Any]) -> Iterator[str]:
    for wrong in (object(), "x", -1 << 1000, -1.0):
        try:
            converter_of(each).check(wrong)
        except NotAllowed as error:
            if error.shown is None:  # else the error is about this value only
                yield error.allowed
