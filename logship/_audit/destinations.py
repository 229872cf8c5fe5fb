"""Which kind of output an argument names: files, or what is behind an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from logship._audit.outputs import Files
from logship._audit.sources import CannotRead

if TYPE_CHECKING:
    from logship._audit.outputs import Output

SCHEMES: Final = ("s3://", "cloudwatch://", "kafka://", "opensearch+https://", "loki+https://")


def is_address(name: str) -> bool:
    """Tell whether a name is an address, and not that of a file."""
    return "://" in name


def output_of(name: str) -> Output:
    """Return what a name stands for. What few need is imported only for them.

    Raises:
        CannotRead: There is no such kind of output, or a library for it is missing.
    """
    scheme = name.partition("://")[0] if is_address(name) else ""
    try:
        match scheme:
            case "":
                return Files(name)
            case "s3":
                from logship._audit.aws import Objects  # noqa: PLC0415

                return Objects(name)
            case "cloudwatch":
                from logship._audit.aws import LogGroup  # noqa: PLC0415

                return LogGroup(name)
            case "kafka":
                from logship._audit.kafka import Topic  # noqa: PLC0415

                return Topic(name)
            case "opensearch+http" | "opensearch+https":
                from logship._audit.stores import Indices  # noqa: PLC0415

                return Indices(name)
            case "loki+http" | "loki+https":
                from logship._audit.stores import Query  # noqa: PLC0415

                return Query(name)
    except ValueError as error:  # of the address, or of boto3's settings
        raise CannotRead(f"cannot read {scheme}://…: {error}") from error
    except ImportError as error:
        library = "confluent-kafka" if scheme == "kafka" else "boto3"
        text = f"cannot read {scheme}://…: {error}; pip install {library}"
        raise CannotRead(text) from error
    raise CannotRead(f"cannot read {name}: the known kinds are {', '.join(SCHEMES)}")
