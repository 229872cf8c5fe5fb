"""`logship audit --watch`: looks at the outputs again and again until a stop signal."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from logship._audit.destinations import output_of
from logship._audit.watch import Watch
from logship._cli.common import only_given, say, serve_metrics
from logship._metrics.measures import AUDIT_MEASURES
from logship._signal_names import signals_named
from logship.errors import LogshipError

INTERVAL_SECONDS = 10.0


def follow(
    names: Iterable[str],
    stamp_key: str,
    *,
    state: Path | None,
    interval_seconds: float | None,
    metrics_port: int | None,
    metrics_host: str | None,
    **options: Any,
) -> NoReturn:
    """Follow outputs until SIGTERM or SIGINT.

    Raises:
        CannotRead: There is no such kind of output.
        BadState: The state cannot be read.
        click.UsageError: Metrics cannot be served.
    """
    outputs = [output_of(name) for name in dict.fromkeys(names)]
    watch = Watch(
        outputs, stamp_key=stamp_key, say=functools.partial(say, "audit"), **only_given(options)
    )
    if state is not None:
        resume(watch, state)
    if metrics_port is not None:
        host = metrics_host or "127.0.0.1"
        serve_metrics("audit", host, metrics_port, watch.figures, AUDIT_MEASURES)
    is_over = False

    def end(*_: object) -> NoReturn:
        nonlocal is_over
        is_over = True  # because what is raised in the middle of a destructor is lost
        sys.exit()  # a look that is cut off is made again

    for number in signals_named("SIGTERM", "SIGINT", "SIGBREAK"):
        signal.signal(number, end)
    while True:
        watch.look(time.time())
        try:
            if state is not None:
                save(watch, state)
        except BadState as error:
            say("audit", str(error))
        if is_over:
            sys.exit()
        time.sleep(interval_seconds or INTERVAL_SECONDS)


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
