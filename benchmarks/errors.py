"""Errors of a measurement itself, as opposed to losses that it measures."""

from __future__ import annotations

import click


class BenchmarkError(click.ClickException):
    """The benchmark could not be run; the message says what to do.

    Its exit code is not the 1 that means "logship lost a line".
    """

    exit_code = 2
