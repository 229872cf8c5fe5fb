"""A log group of CloudWatch Logs as an output of a sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from logship._audit.sources import telling
from logship._audit.timed import TimedPart


class LogGroup:
    """A log group, with all of its streams.

    Args:
        name: `cloudwatch://GROUP`; a group's name may begin with a slash.
        client: Of boto3, for `logs`.
    """

    def __init__(self, name: str, client: Any) -> None:
        self.name = name
        self._client = client
        self._group = name.removeprefix("cloudwatch://")

    def parts(self) -> Iterator[TimedPart]:
        """Yield the group, if it is there."""
        pages = self._client.get_paginator("describe_log_groups")
        with telling(self.name, BotoCoreError, ClientError):
            for page in pages.paginate(logGroupNamePrefix=self._group):
                if any(each["logGroupName"] == self._group for each in page["logGroups"]):
                    yield TimedPart(self.name, self._fetch)

    def _fetch(self, milliseconds: int) -> Iterator[tuple[int, bytes]]:
        pages = self._client.get_paginator("filter_log_events")
        with telling(self.name, BotoCoreError, ClientError):
            for page in pages.paginate(logGroupName=self._group, startTime=milliseconds):
                for event in page["events"]:
                    line = event["message"].rstrip("\n").encode("utf-8", "replace")
                    yield event["timestamp"], line
