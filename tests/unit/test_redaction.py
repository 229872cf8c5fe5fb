"""What the rules of redaction take for a secret in texts, what they leave, and in what time."""

from __future__ import annotations

import json
import math
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records import RECORDS
from logship._protocol.readable import plain_value
from logship._redaction import REDACTED, RULES, is_card_number, redactor
from tests.fuzz.targets import TARGETS, measure
from tests.unit.redacting import SECRET, default

ROOT = Path(__file__).parents[2]
PAGES = [page for page in ROOT.glob("docs/**/*.md") if page.stem != "redaction"]

IN_TEXTS = {
    "passwords": [
        f"login password={SECRET} ok",
        f"Password: {SECRET}",
        f"db_passwd => '{SECRET} with spaces'",
        f'{{"password": "{SECRET}", "n": 1}}',
        f'{{\\"password\\": \\"{SECRET} two words\\"}}',
        f"PGPASSWORD={SECRET}",
        f"password={SECRET.encode()!r}",
        f"{{'password': u'{SECRET}'}}",
        f'password="""{SECRET}"""',
        *(f"password = {bracket}{SECRET}" for bracket in "([{<&"),
        f"password          = {SECRET}",
        f"\x1b[36mpassword\x1b[0m=\x1b[35m{SECRET}\x1b[0m",
        f"Password:\t\t\t\t{SECRET}",
        f"password1={SECRET}&password_2={SECRET}",
        f"mysql --password {SECRET} -u app",
        f"mysql --db-password '{SECRET}'",
        f"Command '['mysql', '--password', '{SECRET}', '-u', 'app']' returned 1",
        f'["mysql", "--password", "{SECRET}"]',
        f'{{\\"password\\": \\"{SECRET} and its end is cut off',
    ],
    "tokens": [
        f"GET /api?api_key={SECRET}&page=2",
        f'"token":"{SECRET}"',
        f"client_secret = {SECRET}",
        f"aws_secret_access_key={SECRET}",
        f"the token: {SECRET}",
        f"\x1b[36mtoken\x1b[0m=\x1b[35m{SECRET}\x1b[0m",
        f"token1={SECRET}&api_key_2={SECRET}",
        f"tool --api-key {SECRET} --client-secret {SECRET}",
        f"['tool', '--auth-token', '{SECRET}']",
        f"{{'token': {SECRET.encode()!r}}}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{SECRET}",
    ],
    "headers": [
        f"Authorization: Bearer {SECRET}.abc",
        f"'authorization': 'Basic {SECRET}=='",
        f"sent Bearer {SECRET}abcdef",
        f"Set-Cookie: sid={SECRET}; HttpOnly",
        f"X-Api-Key: {SECRET}",
        f"{{'x-api-key': {SECRET.encode()!r}, 'cookie': {b'sid=' + SECRET.encode()!r}}}",
        f"[(b'authorization', {SECRET.encode()!r}), (b'cookie', {SECRET.encode()!r})]",
        f'Set-Cookie: session="{SECRET}=="; Path=/',
        f'Authorization: Digest username="u", opaque="", response="{SECRET}"',
        f'Authorization: OAuth realm="", oauth_signature="{SECRET}',
        f'{{"n": "Authorization: Digest uri=\\"/\\", response=\\"{SECRET}\\""}}',
        f'{{\\"authorization\\": \\"Token {SECRET}\\"}}',
        f'{{\\"Cookie\\": \\"sid={SECRET}\\"}}',
        f'{{"authorization": "Token {SECRET}',
        f"HTTP_COOKIE=sid={SECRET}",
        f"{{'HTTP_AUTHORIZATION': 'Token {SECRET}'}}",
    ],
    "urls": [
        f"connecting to postgres://app:{SECRET}@db:5432/shop",
        f"postgres://{'u' * 200}:{SECRET}@db",
        f"postgres://app:{SECRET}{'x' * 1500}@db",
    ],
    "cards": ["card 4111 1111 1111 1111", "pan=5500-0055-5555-5559", "378282246310005"],
    "cloud-keys": [
        "AKIAIOSFODNN7EXAMPLE",
        "key AIza" + "x" * 35,
        "ghp_" + "a1" * 20,
        "xoxb-1234567890-abcdef",
        "xapp-1-A0123456789-abcdef",
        "sk_live_" + "a" * 24,
        "AccountName=a;AccountKey=" + "A1b2" * 12 + "==;",
    ],
    "private-keys": [
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----",
    ],
}
TEXTS = [(rule, text) for rule, texts in IN_TEXTS.items() for text in texts]

NO_SECRETS = [
    "unexpected token: identifier",
    "if token == '@':",
    "tokens: 512, max_tokens=4096",
    "password is missing",
    "password=<password>",
    "password={password}",
    "password=None, token=null, secret=True",
    '{"password": null, "token": null}',
    "tool [--password PASSWORD] [--token TOKEN]",
    "--password is needed; --token, --secret1, --user too",
    "tool --password --retries 3",
    "fields: ['password', 'email']",
    "basic authentication failed",
    "cookie: not found",
    "primary key: id1",
    "GET http://example.com:8080/a?b=c 200",
    "order 1700000000000000 took 1234567890123 ns",  # neither issuer nor check digit fits
    "4111111111111112",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736",
    "0.4111111111111111",
    "id-4111111111111111",
    "41 1111 1111 1111 11 7",  # not in the groups that are printed on cards
    "http://host:8080/users/me@example.com",
    "http://[::1]:8080/me@example.com",
    "file://C:/me@example.com",
    "amqp://app:@db",
    '{"name": "Authorization", "in": "header"}',
    'password="" token=\\"\\"',
    f"password={REDACTED}",
]


def test_every_rule_for_texts_is_tried_here() -> None:
    assert {"fields", *IN_TEXTS} == set(RULES)


@pytest.mark.parametrize(("rule", "text"), TEXTS)
def test_a_rule_finds_its_secrets_in_texts(rule: str, text: str) -> None:
    found = redactor(rule, plain_value)(text)
    assert REDACTED in found
    assert SECRET not in found
    assert default(text) != text


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", [text for _, text in TEXTS if not set(text) & set("'\"\t\x1b")])
def test_a_secret_is_found_behind_a_line_end_that_is_escaped(text: str, line_end: str) -> None:
    """As in a request that `http.client` shows, or in JSON. What follows on its own line stays."""
    lines = f"GET / HTTP/1.1{line_end}{text}{line_end}Host: x"
    for shown in (repr(lines), repr(lines.encode()), json.dumps({"a": lines}), _nested(lines, 2)):
        found = default(shown)
        assert SECRET not in found
        assert REDACTED in found
        assert "Host: x" in found


@pytest.mark.parametrize("color", ["\x1b[1m", "\x1b[35m", "\x1b[1;35m"])
@pytest.mark.parametrize(("rule", "text"), TEXTS)
def test_a_secret_is_found_in_color(rule: str, text: str, color: str) -> None:
    found = redactor(rule, plain_value)(f"{color}{text}\x1b[0m")
    assert REDACTED in found
    assert SECRET not in found


def test_a_rule_that_is_not_named_finds_nothing() -> None:
    for rule, text in TEXTS:
        other = "urls" if rule == "cards" else "cards"
        assert redactor(other, plain_value)(text) == text


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert default(text) == text


def test_a_text_keeps_what_is_around_a_secret() -> None:
    assert default(f"a password='{SECRET}' b") == f"a password='{REDACTED}' b"
    colored = "\x1b[36mtoken\x1b[0m=\x1b[35m{}\x1b[0m n=1"  # as structlog prints it
    assert default(colored.format(SECRET)) == colored.format(REDACTED)
    as_json = json.dumps({"user": "x", "password": SECRET, "n": 1})
    assert json.loads(default(as_json)) == {"user": "x", "password": REDACTED, "n": 1}


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", SECRET),
        ("password", f'a "mark" \\ and {SECRET}'),
        ("password", f"'{SECRET}"),
        ("token", f'"{SECRET}'),
        ("api_key", SECRET),
        ("cookie", f'session="{SECRET}"; Path=/'),
        ("Authorization", f'Digest username="u", response="{SECRET}"'),
    ],
)
def test_json_inside_json_stays_json(depth: int, name: str, value: str) -> None:
    text = _nested({"a": "x", name: value, "n": 1}, depth)
    assert default(text) == _nested({"a": "x", name: REDACTED, "n": 1}, depth)


@pytest.mark.parametrize("name", ["X-Auth-Token", "X-Api-Key", "Authorization"])
@pytest.mark.parametrize("equals", [": ", "="])
def test_a_header_with_the_name_of_a_token_loses_all_of_its_value(name: str, equals: str) -> None:
    for scheme in ("Bearer", "Token", "AWS4-HMAC-SHA256"):
        assert default(f"{name}{equals}{scheme} {SECRET}") == f"{name}{equals}{REDACTED}"


def test_json_as_python_shows_it_loses_its_secret_alone() -> None:
    for value in (f'a"{SECRET}', f'"{SECRET}', SECRET):
        shown = repr(json.dumps({"password": value, "user": "joe"}))
        expected = repr(json.dumps({"password": REDACTED, "user": "joe"}))
        assert default(shown) == expected


def _nested(value: Any, depth: int) -> str:
    for _ in range(depth):
        value = json.dumps({"in": value})
    return str(value)


@pytest.mark.parametrize("value", ["sid=a", "sid="])
@pytest.mark.parametrize(
    "text",
    [
        'curl -H "Cookie: {}" -d "n=1"',
        '"Cookie: {}" + value',
        '{{"message": "Cookie: {}", "n": 1}}',
        '{{\\"message\\": \\"Cookie: {}\\", \\"n\\": 1}}',
    ],
)
def test_a_header_ends_where_the_text_that_quotes_it_ends(text: str, value: str) -> None:
    assert default(text.format(value)) == text.format(REDACTED)


@pytest.mark.parametrize(
    "part",
    [
        *("4 ", "4111 ", "4-1", "4111111111111111 ", "41 1111-"),
        *("a://b:c/", "a://b:c@", "://b:", "a://b:/@", "a.b+"),
        *("\\", '\\"', '"', "pwd=", 'pwd=\\"', 'pwd=\\\\\\"a', 'pwd="""', "pwd=" + " " * 60),
        *("token: ", "token" + " " * 60, "token=\x1b[1m", 'token=\\"', "token='\\"),
        *("cookie:", 'cookie:a="', "cookie:a=\\", 'cookie:a="\\"', 'authorization:"=', "http_"),
        *("-----BEGIN PGP PRIVATE KEY", "-----BEGIN PRIVATE KEY BLOCK-----"),
    ],
)
def test_time_grows_with_the_length_and_no_faster(part: str) -> None:
    measure(TARGETS["redaction"], (part * 60_000)[:60_000].encode())


@pytest.mark.parametrize("length", [5000, 60_000])
def test_a_long_or_open_quotation_is_redacted(length: int) -> None:
    assert SECRET not in default(f'password="{"long " * length}{SECRET}" tail'[: 5 * length])
    assert SECRET not in default(f'password="{SECRET}')


def test_what_is_redacted_keeps_the_rest_of_its_line() -> None:
    once = f"Authorization: {REDACTED} and the rest"
    assert default(once) == once


@pytest.mark.parametrize(
    "number",
    ["4111111111111111", "4111 1111 1111 1111", "5500-0055-5555-5559", "3782 822463 10005"],
)
@pytest.mark.parametrize(
    "text",
    [
        *("{} 12/27", "{} 123", "25 {}", "12:34:56 {} ok", "1 2 {}, 3", "2026-11-29 {}"),
        *("2026 1129 {} 12", "{0} {0} 4111"),
    ],
)
def test_a_card_number_is_found_beside_other_numbers(number: str, text: str) -> None:
    assert default(text.format(number)) == text.format(REDACTED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://app:p@ss@db/shop", f"postgresql://app:{REDACTED}@db/shop"),
        ("postgresql://app:ab/cd@db/shop", f"postgresql://app:{REDACTED}@db/shop"),
        ("postgresql://app:a/b@c@db/shop", f"postgresql://app:{REDACTED}@db/shop"),
        ("http://u:p@host/users/me@example.com", f"http://u:{REDACTED}@host/users/me@example.com"),
        ("amqp://a:5672,amqp://u:p/p@b", f"amqp://a:5672,amqp://u:{REDACTED}@b"),
    ],
)
def test_the_password_in_a_url_may_have_any_character(text: str, expected: str) -> None:
    assert default(text) == expected


def test_a_card_number_is_found_in_a_column_of_floats() -> None:
    """Such is a column of whole numbers in pandas once a value is missing."""
    others = [1234567890123.0, 4111111111111111.5, -4111111111111111.0, 0.5, 1e300, math.inf]
    record = {"column": [4111111111111111.0, *others], "total": 378282246310005.0}
    assert default(record) == {"column": [REDACTED, *others], "total": REDACTED}
    shown = default({"number": 1234567890123.0})["number"]
    assert isinstance(shown, float)
    assert redactor("passwords", plain_value)(record) == record


def test_check_digits_and_issuers() -> None:
    for number in ("4111111111111111", "2223003122003222", "6011111111111117", "30569309025904"):
        assert is_card_number(number)
        wrong = f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
        assert not is_card_number(wrong)
    assert not is_card_number("0" * 16)


def test_real_text_causes_few_false_alarms() -> None:
    """Lines of documentation, of this project's records, and of Python's own modules."""
    assert [record for record in RECORDS if default(record) != record] == []
    pages = [line for page in PAGES for line in page.read_text().splitlines()]
    alarms = [line for line in pages if default(line) != line]
    assert all("user:password@" in line for line in alarms), alarms
    lines = list(_lines_of_python())
    alarms = [line for line in lines if default(line) != line]
    assert len(alarms) < len(lines) / 2000, alarms


def _lines_of_python() -> Iterator[str]:
    library = Path(sysconfig.get_path("stdlib"))
    for package in ("asyncio", "collections", "importlib", "json", "logging", "unittest", "xml"):
        for path in (library / package).glob("*.py"):
            yield from path.read_text("utf-8").splitlines()
