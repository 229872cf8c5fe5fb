"""Secrets in records, known by the names of fields and by what texts look like. PURE.

`LOGSHIP_REDACT=default` uses every rule; a list of names uses those. A rule may miss a secret, and
may take for one what is none. Each pattern reads a text in linear time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

REDACTED: Final = "[redacted]"
"""Stands where a secret was."""

DEFAULT: Final = "default"
"""Names all rules."""

FIELD: Final = "field:"
"""Begins an element of the list that names one more field whose value is secret."""

_FIELDS: Final = "fields"
_NAMES_MAX = 4096
_DEPTH_MAX = 16
_UNLIMITED = -1
_CARD_NUMBER_MIN, _CARD_NUMBER_END = 10**12, 10**19

_ISSUERS: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = (
    (("4",), (13, 16, 19)),
    (tuple(str(each) for each in (*range(51, 56), *range(2221, 2721))), (16,)),
    (("34", "37"), (15,)),
    (("6011", "65", *(str(each) for each in range(644, 650))), (16, 19)),
    (tuple(str(each) for each in range(3528, 3590)), (16, 19)),
    (("36", "38", "39", *(str(each) for each in range(300, 306))), (14,)),
    (("62",), (16, 17, 18, 19)),
)
"""What the numbers of payment cards begin with, and how many digits those have (ISO/IEC 7812)."""

_SECRET_NAMES = frozenset(
    {"auth", "cookie", "cookies", "cvc", "cvv", "dbpass", "pass", "pin", "pwd", "setcookie", "ssn"}
)
_SECRET_ENDINGS = (
    *("password", "passwords", "passwd", "passphrase", "secret", "token", "authorization"),
    *("apikey", "accesskey", "secretkey", "privatekey", "signingkey", "encryptionkey"),
    *("credential", "credentials", "sessionid", "connectionstring"),
)
_NAME_SEPARATORS = str.maketrans("", "", "_-. ")

Replace = Callable[[re.Match[str]], str]


def _keep_first_group(match: re.Match[str]) -> str:
    """Keep what shows that it is a secret, and the quotes around that."""
    quote = _QUOTE.match(match[0], match.end(1) - match.start())
    return f"{match[1]}{quote[0]}{REDACTED}{quote[0]}" if quote else f"{match[1]}{REDACTED}"


def _keep_nothing(_: re.Match[str]) -> str:
    return REDACTED


def _hide_card_number(match: re.Match[str]) -> str:
    return REDACTED if is_card_number(re.sub("[ -]", "", match[0])) else match[0]


class _Pattern(NamedTuple):
    """What a kind of secret looks like in a text.

    Attributes:
        hints: One of these, in small letters, is in each text that matches.
        matches: A secret, and what shows that it is one.
        replace: Returns what takes the place of a match.
    """

    hints: tuple[str, ...]
    matches: re.Pattern[str]
    replace: Replace = _keep_nothing


_QUOTE = re.compile(r"""\\?["']""")
_NAMES_OF_PASSWORDS = r"(?:passw(?:or)?d|passphrase|pwd)"
_NAMES_OF_KEYS = r"(?:secret|token|credentials?|(?:api|access|secret|private|signing)[_-]?key)"
_EQUALS = r"""\\?["']?\s{0,3}=(?!=)>?\s{0,3}"""
_EQUALS_OR_COLON = r"""\\?["']?\s{0,3}(?:=(?!=)>?|:)\s{0,3}"""
_PREFIX = r"[bru]{0,2}"  # of text or bytes, as Python shows them
_QUOTED = (
    rf"""{_PREFIX}(?:"{{3}}[^"]{{1,65536}}"{{3}}|'{{3}}[^']{{1,65536}}'{{3}}"""
    r"""|"(?:[^"\\]|\\.){1,65536}"|'(?:[^'\\]|\\.){1,65536}'"""
    r"""|\\"[^"\\]{1,65536}\\"|\\'[^'\\]{1,65536}\\')"""
)
_HAS_DIGIT = r"""(?=[^\s0-9]{0,80}[0-9])"""
# A bracket may begin a secret, or a placeholder such as `<password>`, which has no digit.
_BARE = rf"""(?!\[redacted\])(?:[(<\[{{&]{{1,3}}{_HAS_DIGIT})?["']?[^\s"'\\,;&(){{}}\[\]<>]+"""
_HEADERS = r"(?:(?:proxy-)?authorization|x-api-key|x-auth-token)"
_TOKEN_HINTS = ("secret", "token", "credential", "key")

_SECRET_HEADER = re.compile(rf"(?i){_HEADERS}|(?:set-)?cookie")

_PATTERNS: dict[str, tuple[_Pattern, ...]] = {
    "passwords": (
        _Pattern(
            ("pass", "pwd"),
            re.compile(rf"(?i)({_NAMES_OF_PASSWORDS}{_EQUALS_OR_COLON})(?:{_QUOTED}|{_BARE})"),
            _keep_first_group,
        ),
    ),
    "tokens": (
        # In prose a colon may follow "token": there a secret has quotes, a digit or no space.
        _Pattern(
            _TOKEN_HINTS,
            re.compile(
                rf"(?i)({_NAMES_OF_KEYS}(?:{_EQUALS_OR_COLON}(?={_QUOTED})|{_EQUALS}(?={_BARE})|:(?=\S)"
                rf"|:\s{{1,3}}{_HAS_DIGIT}))(?:{_QUOTED}|{_BARE})"
            ),
            _keep_first_group,
        ),
        _Pattern(("eyj",), re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]*")),
    ),
    "headers": (
        _Pattern(
            ("authorization", "x-api-key", "x-auth-token"),
            re.compile(
                rf"(?i)(\b{_HEADERS}{_EQUALS_OR_COLON}(?:{_PREFIX}[\"'])?)(?!\s{{0,3}}\[redacted\])[^\r\n\"']+"
            ),
            _keep_first_group,
        ),
        _Pattern(
            ("cookie",),
            re.compile(
                rf"(?i)(\b(?:set-)?cookie{_EQUALS_OR_COLON}(?:{_PREFIX}[\"'])?)"
                r"(?=[^\s=;,\"']{1,100}=)[^\r\n\"']+"
            ),
            _keep_first_group,
        ),
        # Names and values in pairs, as ASGI has them.
        _Pattern(
            ("authorization", "x-api-key", "x-auth-token", "cookie"),
            re.compile(
                rf"(?i)([\"'](?:{_HEADERS}|(?:set-)?cookie)[\"']\s{{0,3}},\s{{0,3}}){_QUOTED}"
            ),
            _keep_first_group,
        ),
        _Pattern(
            ("bearer", "basic"),
            re.compile(rf"(?i)(\b(?:bearer|basic)\s{{1,3}}){_HAS_DIGIT}[\w.~+/=-]{{8,}}"),
            _keep_first_group,
        ),
    ),
    "urls": (
        _Pattern(
            ("://",),
            re.compile(
                r"(?i)(\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"']{0,256}:)[^\s/@\"']{1,4096}(?=@)"
            ),
            _keep_first_group,
        ),
    ),
    "cards": (
        _Pattern(
            tuple("23456"),
            re.compile(r"[2-6](?<![\w.-][2-6])[0-9](?:[ -]?[0-9]){11,17}(?![\w-])"),
            _hide_card_number,
        ),
    ),
    "cloud-keys": (
        _Pattern(("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
        _Pattern(("aiza", "ya29."), re.compile(r"\b(?:AIza[\w-]{35}|ya29\.[\w-]{20,512})")),
        _Pattern(
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
            re.compile(
                r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64})"
            ),
        ),
        _Pattern(("xox",), re.compile(r"\bxox[abeoprs]-[\w-]{10,250}")),
        _Pattern(("k_live_", "k_test_"), re.compile(r"\b[prs]k_(?:live|test)_\w{16,250}")),
        _Pattern(
            ("accountkey=", "sharedaccesskey="),
            re.compile(r"(?i)((?:account|sharedaccess)key=)[a-z0-9+/]{20,512}={0,2}"),
            _keep_first_group,
        ),
    ),
    "private-keys": (
        _Pattern(
            ("private key-----",),
            re.compile(
                r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
                r"(?s:.*?)(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
            ),
        ),
    ),
}

RULES: Final = (_FIELDS, *_PATTERNS)
"""Names of all rules."""


class UnknownRule(ValueError):  # noqa: N818 - it is not a failure of the program
    """A list names a rule that does not exist."""


def rules_of(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the rules and the further names of fields that a list names.

    Args:
        text: Names, with commas between them.

    Raises:
        UnknownRule: There is no such rule.
    """
    rules: set[str] = set()
    names: set[str] = set()
    for word in filter(None, map(str.strip, text.split(","))):
        if word.startswith(FIELD) and _plain_name(word.removeprefix(FIELD)):
            names.add(_plain_name(word.removeprefix(FIELD)))
        elif word == DEFAULT:
            rules.update(RULES)
        elif word in RULES:
            rules.add(word)
        else:
            raise UnknownRule(word)
    return frozenset(rules), frozenset(names)


def redactor(text: str, readable: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that returns a record without its secrets, as a copy.

    Args:
        text: Names of rules; see `rules_of`.
        readable: Makes plain data of anything: text, numbers, bool, None, lists and mappings with
            text keys, finitely deep.
    """
    rules, names = rules_of(text)
    patterns = [each for rule, found in _PATTERNS.items() if rule in rules for each in found]
    is_secret_name = functools.partial(
        _is_secret_name, names=names, knows_usual_ones=_FIELDS in rules
    )
    return _Walk(
        patterns,
        functools.lru_cache(_NAMES_MAX)(is_secret_name),
        readable,
        hides_cards="cards" in rules,
        hides_headers="headers" in rules,
    ).value


class _Walk:
    """Walks through values, and copies them without their secrets."""

    def __init__(
        self,
        patterns: list[_Pattern],
        is_secret_name: Callable[[str], bool],
        readable: Callable[[Any], Any],
        *,
        hides_cards: bool,
        hides_headers: bool,
    ) -> None:
        self._patterns = patterns
        self._is_secret_name = is_secret_name
        self._readable = readable
        self._hides_cards = hides_cards
        self._hides_headers = hides_headers

    def value(self, value: Any, depth_left: int = _DEPTH_MAX) -> Any:
        """Return a value without its secrets."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int:
            return self._integer(value)
        if kind is float or kind is bool or value is None:
            return value
        if kind is dict and depth_left and {str}.issuperset(map(type, value)):
            items = list(value.items())
            return {name: self._field(name, each, depth_left - 1) for name, each in items}
        if kind is list and depth_left:
            values = [self.value(each, depth_left - 1) for each in value.copy()]
            if len(values) == 2 and self._is_secret_header(*values):
                values[1] = REDACTED
            return values
        return self.value(self._readable(value), _UNLIMITED)

    def _field(self, name: str, value: Any, depth_left: int) -> Any:
        says_nothing = value is None or type(value) is bool or value == ""
        if not says_nothing and self._is_secret_name(name):
            return REDACTED
        return self.value(value, depth_left)

    def _is_secret_header(self, name: Any, value: Any) -> bool:
        return (
            self._hides_headers
            and type(name) is type(value) is str
            and _SECRET_HEADER.fullmatch(name) is not None
        )

    def _integer(self, value: int) -> int | str:
        if self._hides_cards and _CARD_NUMBER_MIN <= value < _CARD_NUMBER_END:
            return REDACTED if is_card_number(str(value)) else value
        return value

    def _text(self, text: str) -> str:
        lowered = text.lower()
        for hints, matches, replace in self._patterns:
            for hint in hints:
                if hint in lowered:
                    text = matches.sub(replace, text)
                    break
        return text


def is_card_number(digits: str) -> bool:
    """Tell whether digits are those of a payment card: issuer, length and check digit fit."""
    if not any(len(digits) in lengths and digits.startswith(begin) for begin, lengths in _ISSUERS):
        return False
    doubled = [sum(divmod(2 * int(each), 10)) for each in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_secret_name(name: str, *, names: frozenset[str], knows_usual_ones: bool) -> bool:
    plain = _plain_name(name)
    if plain in names:
        return True
    return knows_usual_ones and (plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS))


def _plain_name(name: str) -> str:
    return name.lower().translate(_NAME_SEPARATORS)
