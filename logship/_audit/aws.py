"""What the outputs of AWS share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from logship._audit.sources import CannotRead


@contextlib.contextmanager
def telling(name: str) -> Iterator[None]:
    """Turn the errors of boto3 into one that names the source."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CannotRead(f"cannot read {name}: {error}") from error
