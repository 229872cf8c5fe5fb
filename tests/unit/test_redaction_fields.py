"""Shows which fields and objects the rules of redaction hide, and that no record is changed."""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
from types import MappingProxyType
from typing import Any

import pytest

from logship._installation.handler import Handler
from logship._protocol.readable import NODES_MAX, plain_value
from logship._redaction import REDACTED, redactor
from logship.testing import Sidecar
from tests.support.memory import traced_memory
from tests.unit.clients import a_background_client
from tests.unit.redacting import SECRET, default


@pytest.mark.parametrize(
    "name",
    [
        *("password", "DB_PASSWORD", "apiKey", "api-key", "Authorization", "Set-Cookie", "pin"),
        *("access_token", "session.id", "private key"),
        *("HTTP_COOKIE", "password1", "new_password2"),
    ],
)
@pytest.mark.parametrize("value", [SECRET, 1234, [SECRET], {"a": SECRET}, SECRET.encode()])
def test_a_field_with_the_name_of_a_secret_is_redacted(name: str, value: Any) -> None:
    assert default({name: value, "message": "m"}) == {name: REDACTED, "message": "m"}
    assert default({"in": [{name: value}]}) == {"in": [{name: REDACTED}]}


@pytest.mark.parametrize(
    "name", ["passwords_checked", "tokens", "pinned", "author", "secretary", "auth0"]
)
def test_other_fields_keep_their_values(name: str) -> None:
    assert default({name: "value"}) == {name: "value"}


def test_a_field_that_says_nothing_keeps_it() -> None:
    record = {"password": None, "token": "", "auth": True}
    assert default(record) == record


def test_a_list_may_name_further_fields() -> None:
    redact = redactor("cards, field:IBAN ,field:birth-date", plain_value)
    record = {"iban": "DE89", "iban2": "x", "birthDate": "2000", "password": SECRET}
    assert redact(record) == {
        "iban": REDACTED,
        "iban2": "x",
        "birthDate": REDACTED,
        "password": SECRET,
    }


@dataclasses.dataclass
class User:
    name: str
    password: str

    def __repr__(self) -> str:
        return f"User(password={self.password})"


class Odd:
    def __str__(self) -> str:
        return f"token={SECRET}"

    __repr__ = __str__


def test_secrets_in_objects_are_found_as_they_will_be_read() -> None:
    record = {
        "user": User("x", SECRET),
        "odd": Odd(),
        "tuple": (f"password={SECRET}",),
        "bytes": f"password={SECRET}".encode(),
        "proxy": MappingProxyType({"password": SECRET}),
        "error": ValueError(f"password={SECRET}"),
        "card": 4111111111111111,
        "number": 1234567890123,
    }
    found = default(MappingProxyType(record))
    assert SECRET not in str(found)
    assert found["card"] == REDACTED
    assert found["number"] == 1234567890123


def test_a_record_inside_itself_or_very_deep_is_read_to_its_end() -> None:
    record: dict[str, Any] = {"password": SECRET}
    record["self"] = record
    deep: Any = f"password={SECRET}"
    for _ in range(40):
        deep = [deep]
    found = default({"record": record, "deep": deep})
    assert SECRET not in str(found)
    assert REDACTED in str(found["deep"])


def test_what_grows_with_each_level_is_read_as_far_as_any_record() -> None:
    """It would have two million values."""
    value: Any = SECRET
    for _ in range(7):
        value = [value] * 8
    assert str(default({"value": value})).count(SECRET) < NODES_MAX


class Name(str):
    __slots__ = ()


class Key(enum.StrEnum):
    PASSWORD = "password"


@pytest.mark.parametrize("name", [Name("password"), Key.PASSWORD, b"password"])
def test_names_of_other_types_are_found_as_they_will_be_read(name: Any) -> None:
    assert SECRET not in str(default({"in": {name: SECRET}, name: SECRET}))


def test_long_names_are_not_kept() -> None:
    """The names in JSON that a program logs are those of its users."""
    redact = redactor("default", plain_value)
    with traced_memory() as memory:
        for number in range(100):
            name = f"{number}{' ' * 100_000}password"
            assert redact({name: SECRET}) == {name: REDACTED}
    assert memory.kept_bytes < 1_000_000


def test_values_under_names_that_read_the_same_are_all_redacted() -> None:
    found = redactor("default,field:iban", plain_value)(
        {"cookie": SECRET, b"cookie": SECRET, "iban": SECRET, b"iban": SECRET, b"auth0": "kept"}
    )
    assert found == {
        **dict.fromkeys(["cookie", "cookie_2", "iban", "iban_2"], REDACTED),
        "auth0": "kept",
    }


def test_arguments_that_do_not_fit_their_message_are_not_shown(
    sidecar: Sidecar, capfd: pytest.CaptureFixture[str]
) -> None:
    client = a_background_client(sidecar, redact="default")
    record = logging.LogRecord("x", 40, "", 1, "password=%s in %d s", (SECRET, "soon"), None)
    Handler(client).emit(record)
    client.close(timeout=10)
    assert SECRET not in str(sidecar.delivered)
    assert SECRET not in capfd.readouterr().err


def test_a_record_that_is_nested_too_deep_says_so(sidecar: Sidecar) -> None:
    nested: dict[str, Any] = {}
    for _ in range(80):
        nested = {"in": nested}
    client = a_background_client(sidecar, redact="default")
    client.emit(nested)
    client.close(timeout=10)
    assert sidecar.delivered[0].record["logship_truncated"] is True


def test_an_object_that_cannot_be_compared_is_shipped() -> None:
    """An array of numpy, or a column of SQLAlchemy: what `==` returns has no truth."""

    class Column:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> Any:
            return self

        def __bool__(self) -> bool:
            raise TypeError("no truth")

        def __str__(self) -> str:
            return "users.name"

    assert default({"by": Column(), "in": [{"by": Column()}]}) == {
        "by": "users.name",
        "in": [{"by": "users.name"}],
    }


def test_the_nodes_of_a_tree_that_refer_to_each_other_end() -> None:
    """Each way through them is one of 20**8."""
    root: dict[str, Any] = {"password": SECRET}
    root["children"] = [{"parent": root, "note": f"token={SECRET}"} for _ in range(20)]
    shown = default({"node": root})
    assert shown["node"]["password"] == REDACTED
    assert shown["node"]["children"][0]["note"] == f"token={REDACTED}"
    assert SECRET not in str(shown)


def test_the_application_s_record_is_not_changed() -> None:
    record = {
        "message": f"password={SECRET}",
        "in": {"password": SECRET},
        "list": [f"token={SECRET}"],
    }
    before = json.dumps(record)
    default(record)
    assert json.dumps(record) == before


def test_secrets_reach_neither_sidecar_nor_stderr(
    sidecar: Sidecar, capfd: pytest.CaptureFixture[str]
) -> None:
    client = a_background_client(sidecar, redact="default", report=True)
    assert client.emit({"message": f"password={SECRET}", "password": SECRET})
    assert client.close(timeout=10).all_acked
    assert not client.emit({"message": f"late password={SECRET}"})
    client.write_refused({"message": f"late password={SECRET}"}, None, None)
    logging.getLogger("logship").debug("nothing")
    assert REDACTED in str(sidecar.delivered)
    assert SECRET not in str(sidecar.delivered)
    assert SECRET not in capfd.readouterr().err
