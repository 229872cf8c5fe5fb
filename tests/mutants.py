"""Judges a run of `make mutants`: each mutant was found, or is listed as equivalent with a reason.

A mutant is known by its function and by the lines that it changes, so the list outlives changes of
other code. What the list names and the run does not have is told as well: its code has changed, or
the run took a busy machine for a test that does not end.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
FOUND = {"killed", "caught by type check", "timeout"}
"""A mutant that is found by a timeout never comes to an end, or waits for what never comes."""


class Mutant(NamedTuple):
    """One mistake.

    Attributes:
        function: Module and function.
        change: The lines that it takes away, and those that it puts in their place.
    """

    function: str
    change: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as the list has it, without a reason."""
        return "\n".join([self.function, *self.change])


def known_mutants(text: str) -> set[Mutant]:
    """Read the list: paragraphs of a function, its changed lines, and a reason."""
    paragraphs = [block.splitlines() for block in re.split(r"\n\n+", text) if block[:1] != "#"]
    known = set()
    for function, *lines in paragraphs:
        change = tuple(line for line in lines if line[:1] in "-+")
        if len(change) == len(lines):
            raise ValueError(f"{function}: the reason is missing")
        known.add(Mutant(function, change))
    return known


def mutant_of(name: str, diff: str) -> Mutant:
    """Return the mutant that mutmut calls so."""
    module, _, mangled = name.removeprefix("logship.").rpartition(".")
    function = re.sub(r"__mutmut_\d+$", "", mangled)[2:]  # behind `x_` or `xǁ`
    lines = [line for line in diff.splitlines()[1:] if re.match(r"[-+](?![-+]{2} )", line)]
    change = tuple(line[0] + " " + line[1:].strip() for line in lines)
    return Mutant(f"{module}.{function.replace('ǁ', '.')}", change)


def survivors(directory: Path) -> list[Mutant]:
    """Return the mutants of a run that nothing found."""

    def mutmut(*arguments: str) -> str:
        command = ["mutmut", *arguments]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
        return done.stdout

    left = [line.strip().split(": ") for line in mutmut("results").splitlines()]
    return [mutant_of(name, mutmut("show", name)) for name, status in left if status not in FOUND]


def main() -> int:
    """Tell what must still be found; 1 if there is anything."""
    known = known_mutants(EQUIVALENT.read_text(encoding="utf-8"))
    left = set(survivors(Path(sys.argv[1])))
    for mutant in sorted(left - known):
        print(f"not found:\n{mutant}\n")
    for mutant in sorted(known - left):
        print(f"listed, and found or gone:\n{mutant}\n")
    print(f"{len(left & known)} equivalent, {len(left - known)} not found")
    return int(bool(left - known))


if __name__ == "__main__":
    sys.exit(main())
