"""Objects of S3 as outputs, against moto's server."""

from __future__ import annotations

import builtins
import gzip
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from logship._audit.destinations import output_of
from logship._audit.sources import CannotRead, Source
from tests.audit.asking import audit
from tests.audit.conftest import REGION
from tests.audit.lines import ONE, bit_json_lines, end, record, text
from tests.audit.watched import Watched

BUCKET = "logs"


@pytest.fixture
def bucket(aws: str) -> Iterator[Any]:
    """Return boto3's client of an empty bucket."""
    import boto3

    client = boto3.client("s3")
    place = {"LocationConstraint": REGION}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    yield client
    client.close()


def delivered(first: int, last: int) -> list[bytes]:
    return [bit_json_lines(record(number)) for number in range(first, last + 1)]


def put(bucket: Any, key: str, lines: Iterable[bytes]) -> None:
    body = gzip.compress(text(lines)) if key.endswith(".gz") else text(lines)
    bucket.put_object(Bucket=BUCKET, Key=key, Body=body)


def test_all_objects_below_a_prefix_are_read_plain_or_gzip(bucket: Any) -> None:
    put(bucket, "app/2026/11/27/1000.gz", delivered(1, 600))
    put(bucket, "app/2026/11/27/1001", delivered(601, 1200))
    put(bucket, "app/2026/11/28/0000.gz", [bit_json_lines(end(1201, 1200))])
    put(bucket, "other/1", delivered(7, 7))
    result = audit("s3://logs/app/", code=0)
    assert result.output.startswith("complete: 1,200 records of 1 stream")
    assert audit("s3://logs").output.startswith("complete: 1,200 records of 1 stream")
    assert "1 duplicate" in audit("s3://logs").output


def test_objects_that_come_go_and_are_replaced_are_followed(bucket: Any) -> None:
    watched = Watched("s3://logs/app")
    assert watched.look() == (0, 0, 0)
    put(bucket, "app/1.gz", delivered(1, 3))
    put(bucket, "app/2.gz", delivered(4, 6))
    assert watched.look() == (6, 0, 0)
    assert watched.look() == (6, 0, 0)
    bucket.delete_object(Bucket=BUCKET, Key="app/1.gz")
    assert watched.look() == (3, 3, 0)
    assert watched.said == [
        "s3://logs/app: nothing is there yet; logship keeps looking",
        "s3://logs/app/1.gz is gone; what was in it no longer counts",
    ]
    put(bucket, "app/2.gz", delivered(1, 6))
    assert watched.look() == (6, 0, 0)


def test_a_watch_goes_on_without_reading_an_object_again(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from logship._audit import aws

    watched = Watched("s3://logs")
    put(bucket, "1", delivered(1, 3))
    watched.look()
    after = watched.resumed()
    put(bucket, "2", delivered(4, 4))
    read: list[str] = []

    def source(name: str, **options: Any) -> Source:
        read.append(name)
        return Source(name, **options)

    monkeypatch.setattr(aws, "Source", source)
    assert after.look() == (4, 0, 0)
    assert read == ["s3://logs/2"]


def test_a_bucket_that_cannot_be_listed_is_told_and_what_is_known_still_counts(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched("s3://logs")
    put(bucket, "1", delivered(1, 3))
    watched.look()
    monkeypatch.setattr(watched.watch._outputs[0], "_bucket", "missing")
    assert watched.look() == (3, 0, 0)
    assert watched.watch.figures.read_failures == 1
    [said] = watched.said
    assert said.startswith("cannot read s3://logs: ")
    assert "NoSuchBucket" in said
    result = audit("s3://missing", code=2)
    assert "cannot read s3://missing" in result.output


def test_without_boto3_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("boto"):
            raise ImportError(f"No module named {name!r}")
        return whole(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "logship._audit.aws", raising=False)
    with pytest.raises(CannotRead, match="pip install boto3"):
        output_of("s3://logs")


@pytest.mark.parametrize("words", ["ftp://host/logs", "ftp://host/logs --watch", "file:///logs"])
def test_an_address_of_another_kind_is_refused(words: str) -> None:
    result = audit(*words.split(), code=2)
    assert "the known kinds are s3://, cloudwatch://, kafka://" in result.output


def test_what_an_object_holds_is_named_by_its_address(bucket: Any) -> None:
    put(bucket, "app/1", [b'{"logship_id":"torn', *delivered(1, 2)])
    result = audit("s3://logs", code=3)
    assert "s3://logs/app/1, line 1: not JSON, or cut off" in result.output
    assert ONE in result.output
