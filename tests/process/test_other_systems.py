"""Shows what works on Windows and macOS, and that the rest is refused in one sentence.

The other systems are simulated: `tests/support/other_systems.py` takes away what they lack.
"""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.commands import ran
from tests.support.other_systems import MODULES, NAMES, SIGBREAK
from tests.support.programs import REPOSITORY, Ended, Programs
from tests.support.programs_gate import Gate
from tests.support.receiver_process import ReceiverProcess

pytestmark = [
    pytest.mark.any_python,
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio asks for modules of Windows"),
]

SERVED = re.compile(r"logship: metrics are served on (\S+)\n")


def on(system: str) -> tuple[str, ...]:
    """Return the options of Python that run a program as if on another system."""
    return ("-m", "tests.support.other_systems", system)


def command(programs: Programs, system: str, *words: str, **environ: str) -> Ended:
    """Run the command `logship` to its end."""
    whole = [sys.executable, *on(system), "logship", *words]
    return programs.start_command(whole, environ=environ).end()


@pytest.mark.parametrize("system", NAMES)
def test_install_ships_and_drains_at_the_exit(programs: Programs, system: str) -> None:
    ended = programs.start(
        """
        logship.install(level="INFO")
        log(times=100)
        """,
        python=on(system),
    ).end()
    assert (ended.returncode, ended.stderr) == (0, "")
    ended.verdict.assert_all_delivered()


@pytest.mark.parametrize(
    ("signum", "statuses"), [(signal.SIGINT, (-2, 130)), (SIGBREAK, (128 + SIGBREAK,))]
)
def test_a_stop_on_windows_drains(
    programs: Programs, signum: int, statuses: tuple[int, ...]
) -> None:
    """Ctrl-C raises KeyboardInterrupt; at Ctrl-Break, as at other stops, the process ends."""
    ended = programs.start(
        """
        logship.install(level="INFO")
        log()
        try:
            ready()
            forever()
        except KeyboardInterrupt:
            log("a last one")
            raise
        """,
        python=on("win32"),
    ).stopped(signum)
    assert ended.returncode in statuses
    ended.verdict.assert_all_delivered(1 + (signum == signal.SIGINT))


def test_clients_the_test_kit_and_an_endpoint_of_metrics_work_on_windows(
    programs: Programs,
) -> None:
    program = programs.start(
        """
        from logship.metrics import LogshipCollector
        from logship.testing import MemoryTransport, Sidecar, SocketSidecar

        async def main(**options):
            async with logship.Client(**options) as client:
                await client.send({"message": "from a loop"})

        with SocketSidecar() as sidecar:
            with logship.BackgroundClient(
                endpoints=sidecar.endpoint, metrics_port=0
            ) as client:
                client.send({"message": "from a thread"})
                client.flush(20)
                input()
            asyncio.run(main(endpoints=sidecar.endpoint))
            print(*[each.record["message"] for each in sidecar.wait_for(2)], sep=", ")
        in_memory = Sidecar()
        asyncio.run(main(transport=MemoryTransport(in_memory)))
        print(len(in_memory.records))
        """,
        python=on("win32"),
        stdin=subprocess.PIPE,
    )
    program.until_true(lambda: SERVED.search(program.stderr) is not None, "an endpoint")
    page = SERVED.findall(program.stderr)[0]

    def has_acked() -> bool:
        with urllib.request.urlopen(page) as answer:
            return b"\nlogship_records_acked_total 1.0\n" in answer.read()

    program.until_true(has_acked, "an acked record on the page")
    assert program.process.stdin
    program.process.stdin.write(b"\n")
    program.process.stdin.close()
    ended = program.end()
    assert ended.stdout == "from a thread, from a loop\n1\n"
    assert (ended.returncode, SERVED.sub("", ended.stderr)) == (0, "")


def test_a_setting_that_windows_has_no_means_for_is_refused_at_install(programs: Programs) -> None:
    ended = programs.start(
        """
        for settings in (
            {"spool_dir": "spool"}, {"metrics_dir": "numbers"}, {"endpoints": "unix:///run/s"}
        ):
            logship.install(disabled=True, **settings)
            try:
                logship.install(**settings)
            except logship.SettingsError as error:
                print(error)
        assert threading.enumerate() == [threading.main_thread()]
        assert not logging.getLogger().handlers
        """,
        python=on("win32"),
    ).end()
    assert (ended.returncode, ended.stderr) == (0, "")
    why = "needs Linux or macOS, and this is Windows"
    assert ended.stdout.splitlines() == [
        f"spool_dir (LOGSHIP_SPOOL_DIR): spool {why}",
        f"metrics_dir (LOGSHIP_METRICS_DIR): numbers {why}",
        f"endpoints (LOGSHIP_ENDPOINTS): unix:///run/s {why}",
    ]


def test_commands_work_on_windows(programs: Programs, tmp_path: Path) -> None:
    python, out = [sys.executable, *on("win32")], tmp_path / "out.jsonl"
    (tmp_path / "compose.yml").write_text("services: {web: {image: web}}\n")
    with ReceiverProcess.start(out, command=[*python, "logship", "receive"]) as receiver:
        environ = {"PYTHONPATH": str(REPOSITORY), "LOGSHIP_ENDPOINTS": receiver.endpoint}
        ran(*python, "logship", "pipe", input="one\ntwo\n", env=environ)
        examined = command(programs, "win32", "doctor", LOGSHIP_ENDPOINTS=receiver.endpoint)
        assert receiver.terminate() == 0
    assert (examined.returncode, examined.stderr) == (0, "")
    assert {line.partition(":")[0] for line in examined.stdout.splitlines()} >= {
        "ok    settings",
        "ok    record",
        "ok    stderr",
    }
    audited = command(programs, "win32", "audit", str(out))
    assert audited.stdout.startswith("complete: 2 records")
    linted = command(programs, "win32", "lint", str(tmp_path / "compose.yml"))
    assert (audited.returncode, linted.returncode, linted.stderr) == (0, 0, "")


IMPOSSIBLE = {
    "darwin": {"run -- true": "run needs Linux, and this is macOS."},
    "win32": {
        "run -- true": "run needs Linux, and this is Windows.",
        "recover --spool .": "recover needs Linux or macOS, and this is Windows.",
        "top": "on Windows processes keep their numbers in no directory; give --metrics URL",
        "receive --bind unix:///run/s": "Invalid value for '--bind': unix:///run/s needs Linux or "
        "macOS, and this is Windows",
    },
}


@pytest.mark.parametrize("system", IMPOSSIBLE)
def test_a_command_that_is_impossible_says_so(programs: Programs, system: str) -> None:
    commands = list(IMPOSSIBLE[system])
    ended = programs.start(
        f"""
        from click.testing import CliRunner
        from logship._cli import main
        for words in {commands}:
            told = CliRunner().invoke(main, words.split())
            print(told.exit_code, told.output.splitlines()[-1])
        """,
        python=on(system),
    ).end(returncode=0)
    assert ended.stdout.splitlines() == [f"2 Error: {why}" for why in IMPOSSIBLE[system].values()]


def test_the_spool_and_the_pages_of_metrics_work_on_macos(
    programs: Programs, black_hole: Gate, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    program = programs.start(
        """
        logship.install(level="INFO", metrics_port=0)
        log(times=100)
        ready()
        forever()
        """,
        python=on("darwin"),
        endpoint=black_hole.endpoint,
        environ={"LOGSHIP_SPOOL_DIR": str(spool), "LOGSHIP_SPOOL_FSYNC": "interval"},
    )
    program.until_ready()
    program.until_true(lambda: SERVED.search(program.stderr) is not None, "an endpoint")
    program.signal(signal.SIGKILL)
    ended = program.end()
    assert SERVED.fullmatch(ended.stderr)
    assert [*spool.glob("metrics/page-*")]
    recovered = command(programs, "darwin", "recover", "--spool", str(spool))
    assert recovered.returncode == 0
    ended.verdict.assert_all_delivered(100)


@pytest.mark.proof
@pytest.mark.parametrize("system", NAMES)
def test_the_simulation_takes_away_what_typeshed_says_is_missing(
    system: str, tmp_path: Path
) -> None:
    listed = {f"{name}.{each}" for name, text in NAMES[system].items() for each in text.split()}
    probe = tmp_path / "probe.py"
    modules = [f"import {name}" for name in NAMES[system]]
    probe.write_text("\n".join([*modules, *sorted(listed)]))
    lines = {f"{probe}:{at}": each for at, each in enumerate(sorted(listed), len(modules) + 1)}
    said = mypy(system, str(probe))
    assert {lines[at] for line in said if (at := line.partition(": ")[0]) in lines} == listed
    # What logship itself uses and this system lacks is taken away.
    used = {match[1] for line in mypy(system, "logship") if (match := _MISSING.search(line))}
    taken = {each.partition(".")[2] for each in listed}.union(
        *(dir(importlib.import_module(name)) for name in MODULES[system].split())
    )
    assert used <= {*taken, "madvise", "fcntl"}


_MISSING = re.compile(r'has no attribute "(\w+)"')


def mypy(system: str, path: str) -> list[str]:
    """Return what mypy says of a path for another system and the oldest Python."""
    options = ("--no-incremental", "--python-version", "3.11", "--platform", system)
    words = (sys.executable, "-m", "mypy", *options, path)
    return ran(*words, code=None, cwd=REPOSITORY, timeout=600).stdout.splitlines()
