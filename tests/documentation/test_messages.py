"""The page of messages has each message of the product, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.documentation.pages import code_of_first_cells
from tests.support.programs import REPOSITORY

PRODUCT = REPOSITORY / "logship"
PAGE = REPOSITORY / "docs" / "messages.md"
PARTS = {
    message: [part for each in re.split(r"[…:;,.()]+", message) if len(part := each.strip()) > 7]
    for message in code_of_first_cells(PAGE)
}
"""The messages of the page, and of each what does not change."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def texts_in(node: ast.AST) -> set[str]:
    """Return the constant texts in some code."""
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {each for each in found if isinstance(each, str)}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions_of(path: Path) -> Iterator[Function]:
    """Yield the functions of a file that contain no other."""
    for each in ast.walk(tree_of(path)):
        if isinstance(each, Function) and not any(
            isinstance(inner, Function) for inner in ast.walk(each) if inner is not each
        ):
            yield each


def tells(call: ast.Call) -> bool:
    """Tell whether a call writes a message."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in {"warn", "_warn", "Warn", "say", "_say"}


def messages_of(function: Function) -> Iterator[set[str]]:
    """Yield the constant texts of each message that a function writes."""
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and tells(call) and call.args:
            told = texts_in(call.args[-1])
            names = {each.id for each in ast.walk(call.args[-1]) if isinstance(each, ast.Name)}
            for made in ast.walk(function):
                if isinstance(made, ast.Assign) and names & {
                    each.id for each in made.targets if isinstance(each, ast.Name)
                }:
                    told |= texts_in(made.value)
            yield {each for each in told if len(each) > len("; is kept")}


def test_the_product_has_each_message_of_the_page() -> None:
    texts = set().union(*(texts_in(tree_of(each)) for each in PRODUCT.rglob("*.py")))
    assert all(PARTS.values())
    parts = {part for of_message in PARTS.values() for part in of_message}
    assert {part for part in parts if not any(part in text for text in texts)} == set()


ANSWERS = {"_audit", "_cli", "_deployment", "_receiver", "testing"}
"""What these say, a command answers."""

BEHIND_RECOVERY = {"adoption.py", "orphan.py", "survey.py"}
"""What these say, `recovery:` precedes."""

MODULES = [
    path
    for path in sorted(PRODUCT.rglob("*.py"))
    if not (ANSWERS | BEHIND_RECOVERY) & {*path.relative_to(PRODUCT).parts}
]


def test_the_page_has_each_message_of_the_product() -> None:
    longest = [max(parts, key=len) for parts in PARTS.values()]
    missing = [
        (path.name, function.name, texts)
        for path in MODULES
        for function in functions_of(path)
        for texts in messages_of(function)
        if texts and not any(part in text for part in longest for text in texts)
    ]
    assert not missing
