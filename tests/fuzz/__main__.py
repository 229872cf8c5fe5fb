"""`python -m tests.fuzz --minutes 5 --target audit`: search for what does not hold.

With atheris, which knows what was executed, where it is installed; with hypothesis otherwise. What
is found is written to `out/fuzz/`, and belongs into `tests/fuzz/corpus/<target>/` when it is fixed.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.inputs import BYTES_MAX, inputs_for
from tests.fuzz.targets import CORPUS, TARGETS, measure

OUT = Path("out/fuzz")
EXAMPLES_A_ROUND = 500
TRACED_SLOWNESS = 20.0
MEMORY_MIB = 2048


def main() -> int:
    """Fuzz one target, or all of them in turn, each for its share of the time."""
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz")
    arguments.add_argument("--minutes", type=float, default=5.0)
    arguments.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.inside:
        with_atheris(chosen.target, chosen.minutes * 60)
    names = [*TARGETS] if chosen.target == "all" else [chosen.target]
    seconds = chosen.minutes * 60 / len(names)
    has_atheris = importlib.util.find_spec("atheris") is not None
    search = in_a_process if has_atheris else with_hypothesis
    return max(search(name, seconds) for name in names)


def with_hypothesis(name: str, seconds: float) -> int:
    """Run rounds of examples, each with a seed of its own."""
    folder = _folder(name)
    ends, executions, number = time.monotonic() + seconds, 0, int(time.time())
    last = b""

    @settings(
        max_examples=EXAMPLES_A_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(inputs_for(name))
    def one_round(data: bytes) -> None:
        nonlocal executions, last
        if time.monotonic() < ends:
            executions, last = executions + 1, data
            measure(TARGETS[name], data)

    while time.monotonic() < ends:
        number += 1
        try:
            seed(number)(one_round)()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            (folder / f"crash-{number}").write_bytes(last)
            print(f"{name}: seed {number}, {folder}/crash-{number}: {error!r:.300}", flush=True)
            return 1
    print(f"{name}: {executions:,} executions, nothing found", flush=True)
    return 0


def in_a_process(name: str, seconds: float) -> int:
    """Fuzz with atheris in a process of its own: atheris ends the one that it runs in."""
    words = ["--inside", "--target", name, "--minutes", str(seconds / 60)]
    return subprocess.run([sys.executable, "-m", "tests.fuzz", *words], check=False).returncode


def with_atheris(name: str, seconds: float) -> None:
    """Let atheris choose inputs by what they execute; does not return."""
    import atheris

    folder = _folder(name)
    for module in [each for each in sys.modules.values() if each.__name__.startswith("logship")]:
        for function in vars(module).copy().values():
            if getattr(function, "__module__", None) == module.__name__ and callable(function):
                _instrument(atheris, function)
    words = [f"-max_total_time={seconds:.0f}", f"-rss_limit_mb={MEMORY_MIB}", "-timeout=60"]
    words += [f"-max_len={BYTES_MAX}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    corpora = [str(folder / "corpus"), str(CORPUS / name)]
    (folder / "corpus").mkdir(exist_ok=True)
    atheris.Setup(
        [sys.argv[0], *words, *(each for each in corpora if Path(each).is_dir())],
        lambda data: measure(TARGETS[name], data, slowness=TRACED_SLOWNESS),
    )
    atheris.Fuzz()


def _instrument(atheris: object, function: object) -> None:
    parts = vars(function).values() if isinstance(function, type) else [function]
    for part in parts:
        if hasattr(part, "__code__"):
            part.__code__ = atheris.instrument_func(part).__code__  # type: ignore[attr-defined]


def _folder(name: str) -> Path:
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
