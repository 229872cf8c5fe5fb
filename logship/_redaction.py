"""Secrets in records, known by the names of fields and by what texts look like. PURE.

`LOGSHIP_REDACT=default` uses every rule; a list of names uses those. A rule may miss a secret, and
may hide harmless text. Each pattern reads a text in linear time.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any, Final

REDACTED: Final = "[redacted]"
"""Stands where a secret was."""

DEFAULT: Final = "default"
"""Names all rules."""

FIELD: Final = "field:"
"""Begins an element of the list that names one more field whose value is secret."""

_FIELDS: Final = "fields"
_NAMES_MAX = 4096
_NAME_CHARACTERS_MAX = 1024
"""How much of the end of a name is looked at, and kept. JSON that is logged may have any names."""

_UNLIMITED = -1
_DEPTH_MAX = 16
_VALUES_MAX = 100_000
"""How many levels and values of one record are walked through as they are. Mappings that refer to
each other, as the nodes of a tree do, would be walked through again and again."""

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
    {
        *("auth", "cookie", "cookies", "cvc", "cvv", "dbpass", "httpcookie", "pass", "pin", "pwd"),
        *("setcookie", "ssn"),
    }
)
_SECRET_ENDINGS = (
    *("password", "passwords", "passwd", "passphrase", "secret", "token", "authorization"),
    *("apikey", "accesskey", "secretkey", "privatekey", "signingkey", "encryptionkey"),
    *("credential", "credentials", "sessionid", "connectionstring"),
)
_NUMBER_OF_COPY = re.compile(r"_[0-9]+\Z")  # see `readable._Names`
_NAME_SEPARATORS = str.maketrans("", "", "_-. ")

Pattern = tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str] | str]
"""Hints, of which one, in small letters, is in each text that matches; what a kind of secret looks
like, and what shows that it is one; and what takes the place of a match."""


def _keep_first_group(match: re.Match[str]) -> str:
    """Keep what shows that it is a secret, and the quotation marks around that."""
    mark = _QUOTATION_MARK.match(match[0], match.end(1) - match.start())
    return f"{match[1]}{mark[0]}{REDACTED}{mark[0]}" if mark else f"{match[1]}{REDACTED}"


def _hide_card_numbers(run: re.Match[str]) -> str:
    """Hide a run of digits that is a card's number, or else such numbers inside it."""
    if _is_spaced_card_number(run[0]):
        return REDACTED
    shown: list[str] = []
    end = 0
    for each in _CARD_IN_RUN.finditer(run[0]):
        if each.start() >= end and _is_spaced_card_number(each[1]):
            shown += [run[0][end : each.start()], REDACTED]
            end = each.end(1)
    return "".join([*shown, run[0][end:]])


def _is_spaced_card_number(text: str) -> bool:
    return is_card_number(text.replace(" ", "").replace("-", ""))


def _pattern(hints: tuple[str, ...], expression: str) -> Pattern:
    """Return a pattern. What matches the expression's group, if it has one, is kept."""
    matches = re.compile(expression)
    return hints, matches, _keep_first_group if matches.groups else REDACTED


# A letter that belongs to no word: of an escaped line end, or the `m` of a terminal's color.
_NO_LETTER = r"(?:(?<!\\[nrt])(?<![\[;][0-9]m)(?<![\[;][0-9]{2}m))"
_WORD = rf"(?<!\w{_NO_LETTER})"  # its beginning

# Parts of the patterns for what has a name. JSON in a string escapes its quotation marks: each
# time, n backslashes before a mark become 2n + 1, or 2n as Python shows them.
_MARK = r"""(?:\\{0,14}["'])"""
_QUOTATION_MARK = re.compile(_MARK)
_LENGTH = "{1,65536}"
_COLORS = r"(?:\x1b\[[0-9;]{0,20}m){0,3}"  # of a terminal
_BLANKS = rf"(?:[ \t]{{4,60}}|\s{{0,3}}){_COLORS}"  # a table has many blanks
_EQUALS = rf"""\\{{0,14}}["']?{_BLANKS}=(?!=)>?{_BLANKS}"""
_EQUALS_OR_COLON = rf"""\\{{0,14}}["']?{_BLANKS}(?:=(?!=)>?|:){_BLANKS}"""


def _quoted_with(mark: str) -> str:
    """Return a pattern for a text between two of these quotation marks."""
    tripled = rf"{mark}{{3}}[^{mark}]{_LENGTH}{mark}{{3}}"
    shown_inside = rf"(?<=\\\\){mark}(?=[^\s,;:)}}\]])"  # JSON as Python shows it
    plain = rf"{mark}(?:[^{mark}\\]|\\.|{shown_inside}){_LENGTH}{mark}"
    return "|".join((tripled, plain, *(_quoted_with_escaped(mark, each) for each in (1, 3, 7))))


def _quoted_with_escaped(mark: str, backslashes: int) -> str:
    """Return a pattern for a text between two marks with so many backslashes, or up to twice."""
    most = 2 * backslashes  # a mark with more of them is in the text
    opening = rf"\\{{{backslashes},{most}}}{mark}(?!\\{{0,{most}}}{mark})"
    mark_inside = rf"(?<=\\{{{most + 1}}}){mark}"
    return rf"{opening}[^{mark}]{_LENGTH}(?:{mark_inside}[^{mark}]{_LENGTH})*{mark}"


_PREFIX = r"[bru]{0,2}"  # of text or bytes, as Python shows them
_QUOTED = rf"""{_PREFIX}(?:{_quoted_with('"')}|{_quoted_with("'")})"""
_HAS_DIGIT = r"""(?=[^\s0-9]{0,80}[0-9])"""
_IN_BARE = r"""[^\s"'\\,;&(){}\[\]<>\x1b]"""
_NO_SECRET = rf"(?:\[redacted\]|(?:none|null|true|false)(?!{_IN_BARE}))"
# A bracket may begin a secret, or a placeholder such as `<password>`, which has no digit.
_BARE = rf"""(?!{_NO_SECRET})(?:[(<\[{{&]{{1,3}}{_HAS_DIGIT})?{_MARK}?{_IN_BARE}+"""

_NUMBER = r"(?:_?[0-9]{1,2})?"
_NAMES_OF_PASSWORDS = rf"(?:passw(?:or)?d|pwd|passphrase){_NUMBER}"
_KEYS = r"(?:api|access|secret|private|signing)[_-]?key"
_NAMES_OF_KEYS = rf"(?:secret|token|credentials?|{_KEYS}){_NUMBER}"
_TOKEN_HINTS = ("secret", "token", "credential", "key")
# An option of a command stands before its value as a word of a line, or of a list.
_OPTION = r"--(?:[a-z]{1,20}-){0,3}"
_BETWEEN_WORDS = rf"(?: {{1,3}}(?={_MARK}|(?!-){_HAS_DIGIT})|{_MARK},\s{{0,3}}(?={_MARK}))"

# `HTTP_` begins a header's name in WSGI and CGI.
_HEADERS = r"(?:(?:http_(?:proxy_)?|proxy-)?authorization|x-api-key|x-auth-token)"
_COOKIES = r"(?:(?:set-|http_)?cookie)"
_SECRET_HEADER = re.compile(rf"(?i){_HEADERS}|{_COOKIES}")

# A header's value without quotation marks ends where the text that quotes the header does. A mark
# behind `=` belongs to the value, unless what follows shows that it ends the text.
_QUOTED_PARAMETER = r"""=\\{0,14}"(?:"|[^\s,;"')}\]][^"\r\n]*"?)"""
_REST_OF_HEADER = rf"""(?:[^\r\n"'\\=]++|{_QUOTED_PARAMETER}|=|\\++(?!["'nr]))+"""
_OPENING_MARK = f"(?:{_PREFIX}{_MARK})?"
_HEADER_VALUE = rf"(?!\s|\[redacted\])(?:{_QUOTED}|{_OPENING_MARK}{_REST_OF_HEADER})"
_NAMED_VALUE = rf"""(?={_OPENING_MARK}[^\s=;,"']{{1,100}}=)"""

# A color, such as `35m`, may stand before the scheme.
_URL_USER = r"""\b[a-z0-9][a-z0-9+.-]{1,24}://[^\s/:@"'\[]{0,256}:"""
# A password may have `/` and `@` in it. A port has neither, and `//` begins another URL.
_PORT = r"[0-9]{0,5}/"
_UP_TO_AT_SIGN = r"""[^\s/@"']*+(?:/(?!/)[^\s/@"']*+)*(?:@[^\s/"']*)?(?=@)"""

_CARD_BEGINS = rf"[2-6](?<![\w.-]{_NO_LETTER}[2-6])"
_CARD_RUN = rf"{_CARD_BEGINS}(?=(?:[ -]?[0-9]){{12}})[0-9]*(?:[ -][0-9]+)*(?![\w-])"
_CARD_GROUPS = r"[0-9]{13,19}|[0-9]{4}(?:[ -][0-9]{4}){3}|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}"
# A lookahead, because numbers that overlap are all looked at.
_CARD_IN_RUN = re.compile(rf"(?<![0-9-])(?=({_CARD_GROUPS})(?![0-9-]))")

_PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "passwords": (
        _pattern(
            ("pass", "pwd"),
            rf"(?i)({_NAMES_OF_PASSWORDS}{_EQUALS_OR_COLON}"
            rf"|{_OPTION}{_NAMES_OF_PASSWORDS}{_BETWEEN_WORDS})(?:{_QUOTED}|{_BARE})",
        ),
    ),
    "headers": (  # before `tokens`, which would take the first word of a value
        # A search is twice as fast if it looks at a letter before it looks behind.
        _pattern(
            ("authorization", "x-api-key", "x-auth-token"),
            rf"(?i)((?=[ahpx]){_WORD}{_HEADERS}{_EQUALS_OR_COLON}){_HEADER_VALUE}",
        ),
        _pattern(
            ("cookie",),
            rf"(?i)((?=[chs]){_WORD}{_COOKIES}{_EQUALS_OR_COLON}){_NAMED_VALUE}{_HEADER_VALUE}",
        ),
        # Names and values in pairs, as ASGI has them. A colon follows a name.
        _pattern(
            ("authorization", "x-api-key", "x-auth-token", "cookie"),
            rf"(?i)([\"'](?:{_HEADERS}|{_COOKIES}){_MARK}\s{{0,3}},\s{{0,3}}){_QUOTED}(?!\s{{0,3}}:)",
        ),
        _pattern(
            ("bearer", "basic"),
            rf"(?i)({_WORD}(?:bearer|basic)\s{{1,3}}){_HAS_DIGIT}[\w.~+/=-]{{8,}}",
        ),
    ),
    "tokens": (
        # In prose a colon may follow "token": there a secret has quotes, a digit or no space.
        _pattern(
            _TOKEN_HINTS,
            rf"(?i)({_NAMES_OF_KEYS}(?:{_EQUALS_OR_COLON}(?={_QUOTED})|{_EQUALS}(?={_BARE})|:(?=\S)"
            rf"|:{_BLANKS}{_HAS_DIGIT})|{_OPTION}{_NAMES_OF_KEYS}{_BETWEEN_WORDS})"
            rf"(?:{_QUOTED}|{_BARE})",
        ),
        _pattern(("eyj",), rf"(?<![\w-]{_NO_LETTER})eyJ[\w-]{{5,}}\.eyJ[\w-]{{5,}}\.[\w-]*"),
    ),
    "urls": (_pattern(("://",), rf"(?i)({_URL_USER})(?!@|{_PORT}){_UP_TO_AT_SIGN}"),),
    "cards": ((tuple("23456"), re.compile(_CARD_RUN), _hide_card_numbers),),
    "cloud-keys": (
        _pattern(("akia", "asia"), rf"{_WORD}(?:AKIA|ASIA)[A-Z0-9]{{16}}\b"),
        _pattern(("aiza", "ya29."), rf"{_WORD}(?:AIza[\w-]{{35}}|ya29\.[\w-]{{20,512}})"),
        _pattern(
            ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
            rf"{_WORD}(?:gh[pousr]_[A-Za-z0-9]{{36,255}}|github_pat_\w{{22,255}}|glpat-[\w-]{{20,64}})",
        ),
        _pattern(("xox", "xapp-"), rf"{_WORD}x(?:ox[a-z]|app)-[\w-]{{10,250}}"),
        _pattern(("k_live_", "k_test_"), rf"{_WORD}[prs]k_(?:live|test)_\w{{16,250}}"),
        _pattern(
            ("accountkey=", "sharedaccesskey="),
            r"(?i)((?:account|sharedaccess)key=)[a-z0-9+/]{20,512}={0,2}",
        ),
    ),
    "private-keys": (
        _pattern(
            ("-----begin ",),
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
            r"(?s:.*?)(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        ),
    ),
}

RULES: Final = (_FIELDS, *_PATTERNS)
"""Names of all rules."""


class UnknownRule(ValueError):  # noqa: N818 - it is not a failure of the program
    """A list names a rule that does not exist."""


def rules_of(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the rules and the further names of fields that a list with commas names.

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
    return _Walk(*rules_of(text), readable).value


class _TooMuch(Exception):  # noqa: N818 - no fault: it says that the longer way must be taken
    """A record holds more values than `_VALUES_MAX`, or more levels than `_DEPTH_MAX`."""


class _Walk:
    """Walks through values, and copies them without their secrets."""

    def __init__(
        self, rules: frozenset[str], names: frozenset[str], readable: Callable[[Any], Any]
    ) -> None:
        self._patterns = [each for rule in _PATTERNS if rule in rules for each in _PATTERNS[rule]]
        is_secret = functools.partial(
            _is_secret_name, names=names, knows_usual_ones=_FIELDS in rules
        )
        self._is_secret_name = functools.lru_cache(_NAMES_MAX)(is_secret)
        self._readable = readable
        self._hides_cards = "cards" in rules
        self._hides_headers = "headers" in rules

    def value(self, value: Any) -> Any:
        """Return a value without its secrets."""
        try:
            return self._value(value, _DEPTH_MAX, [_VALUES_MAX])
        except _TooMuch:
            return self._value(self._readable(value), _UNLIMITED, [sys.maxsize])

    def _value(self, value: Any, depth_left: int, values_left: list[int]) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is int or kind is float:
            return self._number(value)
        if kind is bool or value is None:
            return value
        if kind is dict or kind is list:
            settled = value.copy()  # other threads may change it
            values_left[0] -= len(settled)
            if not depth_left or values_left[0] < 0:
                raise _TooMuch
            if kind is list:
                return self._list(settled, depth_left - 1, values_left)
            if {str}.issuperset(map(type, settled)):
                is_secret_name = self._is_secret_name
                return {
                    name: REDACTED
                    if is_secret_name(name[-_NAME_CHARACTERS_MAX:]) and _says_something(each)
                    else self._value(each, depth_left - 1, values_left)
                    for name, each in settled.items()
                }
        return self._value(self._readable(value), _UNLIMITED, values_left)

    def _list(self, values: list[Any], depth_left: int, values_left: list[int]) -> list[Any]:
        shown = [self._value(each, depth_left, values_left) for each in values]
        if len(shown) == 2 and self._is_secret_header(*shown):
            shown[1] = REDACTED
        return shown

    def _is_secret_header(self, name: Any, value: Any) -> bool:
        return (
            self._hides_headers
            and type(name) is type(value) is str
            and _SECRET_HEADER.fullmatch(name) is not None
        )

    def _number(self, value: float) -> float | str:
        if self._hides_cards and _CARD_NUMBER_MIN <= value < _CARD_NUMBER_END:
            whole = int(value)
            return REDACTED if whole == value and is_card_number(str(whole)) else value
        return value

    def _text(self, text: str) -> str:
        lowered = text.lower()
        for hints, matches, replace in self._patterns:
            for hint in hints:
                if hint in lowered:
                    text = matches.sub(replace, text)
                    break
        return text


def _says_something(value: Any) -> bool:
    """Tell whether a value may be a secret."""
    kind = type(value)  # the value itself may be an object that cannot be compared
    return not (value is None or kind is bool or (kind is str and not value))


def is_card_number(digits: str) -> bool:
    """Tell whether digits are those of a payment card: issuer, length and check digit fit."""
    if not any(len(digits) in lengths and digits.startswith(begin) for begin, lengths in _ISSUERS):
        return False
    doubled = [sum(divmod(2 * int(each), 10)) for each in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_secret_name(name: str, *, names: frozenset[str], knows_usual_ones: bool) -> bool:
    plain, copied = _plain_name(name), _plain_name(_NUMBER_OF_COPY.sub("", name))
    if plain in names or copied in names:
        return True
    without_number = plain.rstrip("0123456789")  # such as `password2`
    return knows_usual_ones and (
        copied in _SECRET_NAMES or without_number.endswith(_SECRET_ENDINGS)
    )


def _plain_name(name: str) -> str:
    return name.lower().translate(_NAME_SEPARATORS)
