"""The objects below a prefix of an S3 bucket, as outputs of a sidecar."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from logship._audit.outputs import Position, Reading
from logship._audit.sources import Source, telling


class Objects:
    """The objects below a prefix.

    Args:
        name: `s3://bucket/prefix`.
        client: Of boto3; credentials, region and endpoint are its affair.
    """

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self._client = client
        self._bucket, _, self._prefix = name.removeprefix("s3://").partition("/")

    def parts(self) -> Iterator[ObjectPart]:
        """Yield every object that is there."""
        pages = self._client.get_paginator("list_objects_v2")
        with telling(self.name, BotoCoreError, ClientError):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for each in page.get("Contents", ()):
                    yield ObjectPart(self._client, self._bucket, each["Key"], each["ETag"])


@dataclass(frozen=True)
class ObjectPart:
    """An object: written at once, so that it is read again only if it was replaced."""

    client: Any
    bucket: str
    key: str
    tag: str

    overlaps = False

    @property
    def name(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"

    def read(self, position: Position | None) -> Reading | None:
        """Return all lines, unless this very object was read."""
        if position is not None and position["tag"] == self.tag:
            return None
        return Reading(self._batches(), {"tag": self.tag}, is_fresh=True)

    def _batches(self) -> Iterator[list[bytes]]:
        """Yield lines, the last one without an end too."""
        with telling(self.name, BotoCoreError, ClientError):
            yield from Source(self.name, opened=self._opened).batches()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        answer = self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.tag)
        with contextlib.closing(answer["Body"]) as body:
            yield cast("BinaryIO", body)
