"""Which kind of output an argument names: files, or what is behind an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logship.audit.outputs import Files
from logship.audit.sources import CannotRead

if TYPE_CHECKING:
    from logship.audit.outputs import Output


def is_address(name: str) -> bool:
    """Tell whether a name is an address, and not that of a file."""
    return "://" in name


def output_of(name: str) -> Output:
    """Return what a name stands for.

    Raises:
        CannotRead: There is no such kind of output, or a library for it is missing.
    """
    if not is_address(name):
        return Files(name)
    if name.startswith("s3://"):
        return _bucket(name)
    raise CannotRead(f"cannot read {name}: of addresses, only s3:// is known")


def _bucket(name: str) -> Output:
    try:
        import boto3  # noqa: PLC0415 - an extra

        from logship.audit.s3 import Objects, telling  # noqa: PLC0415 - needs it
    except ImportError as error:
        text = f"cannot read {name}: {error}; pip install 'logship-forward[s3]'"
        raise CannotRead(text) from error
    with telling(name):
        return Objects(name, boto3.client("s3"))
