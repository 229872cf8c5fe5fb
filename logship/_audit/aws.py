"""Outputs of a sidecar in AWS: objects of S3, and a log group of CloudWatch Logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from logship._audit.outputs import Part, Position, Reading, TimedPart
from logship._audit.sources import Source, telling

_ERRORS = (BotoCoreError, ClientError)


def _client(name: str, service: str) -> Any:
    """Return a client of boto3; credentials, region and endpoint are its affair."""
    with telling(name, *_ERRORS):
        return boto3.client(service)


class Objects:
    """The objects below a prefix: `s3://BUCKET/PREFIX`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client = _client(name, "s3")
        self._bucket, _, self._prefix = name.removeprefix("s3://").partition("/")

    def parts(self) -> Iterator[ObjectPart]:
        """Yield every object that is there."""
        pages = self._client.get_paginator("list_objects_v2")
        with telling(self.name, *_ERRORS):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for each in page.get("Contents", ()):
                    key = each["Key"]
                    name = f"s3://{self._bucket}/{key}"
                    yield ObjectPart(key, name, self._client, self._bucket, each["ETag"])


@dataclass(frozen=True)
class ObjectPart(Part):
    """An object: written at once, so that it is read again only if it was replaced."""

    client: Any
    bucket: str
    tag: str

    def read(self, position: Position | None) -> Reading | None:
        """Return all lines, unless this very object was read."""
        if position is not None and position["tag"] == self.tag:
            return None
        return Reading(self._batches(), {"tag": self.tag}, is_fresh=True)

    def _batches(self) -> Iterator[list[bytes]]:
        """Yield lines, the last one without an end too."""
        with telling(self.name, *_ERRORS):
            yield from Source(self.name, opened=self._opened).batches()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        answer = self.client.get_object(Bucket=self.bucket, Key=self.key, IfMatch=self.tag)
        with contextlib.closing(answer["Body"]) as body:
            yield cast("BinaryIO", body)


class LogGroup:
    """A log group with all of its streams: `cloudwatch://GROUP`, which may begin with a slash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client = _client(name, "logs")
        self._group = name.removeprefix("cloudwatch://")

    def parts(self) -> Iterator[TimedPart]:
        """Yield the group, if it is there."""
        pages = self._client.get_paginator("describe_log_groups")
        with telling(self.name, *_ERRORS):
            for page in pages.paginate(logGroupNamePrefix=self._group):
                if any(each["logGroupName"] == self._group for each in page["logGroups"]):
                    yield TimedPart("all", self.name, self._fetch)

    def _fetch(self, milliseconds: int) -> Iterator[tuple[int, bytes]]:
        pages = self._client.get_paginator("filter_log_events")
        with telling(self.name, *_ERRORS):
            for page in pages.paginate(logGroupName=self._group, startTime=milliseconds):
                for event in page["events"]:
                    line = event["message"].rstrip("\n").encode("utf-8", "replace")
                    yield event["timestamp"], line
