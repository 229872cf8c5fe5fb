"""The file in which a watch keeps its state: written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from logship._audit.watch import Watch
from logship.errors import LogshipError


class BadState(LogshipError):  # noqa: N818 - it says what is bad
    """A watch's state cannot be read or written."""


def resume(watch: Watch, path: Path) -> None:
    """Let a watch go on with what the file says; without a file it begins anew.

    Raises:
        BadState: The file cannot be read, or is none of this version.
    """
    try:
        state: dict[str, Any] = json.loads(path.read_bytes())
        watch.resume(state)
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadState(f"cannot read {path}: {error.strerror}") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        text = f"{path} is not a state of this watch: {error}; remove it to begin anew"
        raise BadState(text) from error


def save(watch: Watch, path: Path) -> None:
    """Put the watch's state in the place of the old one; the file's directory must be there.

    Raises:
        BadState: It cannot be written; the old one is still there.
    """
    # Of its own: another watch may have been given the same file.
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with new.open("x") as file:
            file.write(json.dumps(watch.state(), separators=(",", ":")))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise BadState(f"cannot write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
