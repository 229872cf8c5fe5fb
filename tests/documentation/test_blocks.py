"""Every block of code of every page runs, or says of what kind it is that it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, Block, blocks_of, name_of
from tests.documentation.running import (
    KINDS,
    RUN,
    compile_fragment,
    is_as_expected,
    run,
    runnable_blocks,
)
from tests.support.receiver_process import ReceiverProcess


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ReceiverProcess]]:
    """Starts the sidecar that pages share, once a page needs it."""
    with ExitStack() as stack:

        @cache
        def start() -> ReceiverProcess:
            out = tmp_path_factory.mktemp("default") / "out.jsonl"
            return stack.enter_context(ReceiverProcess.start(out))

        yield start


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("page", [each for each in PAGES if runnable_blocks(each)], ids=name_of)
def test_the_blocks_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, default: Callable[[], ReceiverProcess]
) -> None:
    assert run(page, tmp_path, default) == []


@pytest.mark.parametrize(
    "block", [each for each in BLOCKS if each.mark in KINDS], ids=lambda each: each.place
)
def test_a_block_that_does_not_run(block: Block) -> None:
    """Skipped, so that a run of the tests lists it."""
    if block.language == "python":
        compile_fragment(block)
    pytest.skip(f"not run: {block.mark}: {KINDS[block.mark]}")


def test_every_block_says_what_it_is() -> None:
    assert [each.place for each in BLOCKS if not each.language] == []
    marked = [each for each in BLOCKS if each.mark and each.language in RUN]
    unknown = [each for each in marked if each.mark not in KINDS and not each.mark.endswith(".py")]
    assert [f"{each.place}: {each.mark}" for each in unknown] == []


def test_an_ellipsis_stands_for_anything() -> None:
    assert is_as_expected("a … c\n", "a b c")
    assert not is_as_expected("a … c\n", "a b d")
    assert not is_as_expected("a\n", "a\nb")
    assert is_as_expected("KjRTJ0mD-YV2 702", "0PIGrABvyeT2   702")
    assert not is_as_expected("KjRTJ0mD-YV2 702", "0PIGrABvyeT2 703")
