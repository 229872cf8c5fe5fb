"""Walks every import of the package: arrows point down only, and pure rooms do no I/O."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import logship

ROOT = Path(logship.__file__).parent

# From the top to the bottom; a room may import from rooms below it and from itself. The order is
# that of docs/architecture.md. `__init__` stands above what it registers at import.
LAYERS: list[tuple[str, ...]] = [
    ("__main__", "cli", "testing"),
    ("run", "deployment"),
    ("installation.installation",),
    ("__init__",),
    ("process.watchdog",),
    ("installation", "tasknews", "recover", "audit", "process.signals", "metrics.prometheus"),
    ("process", "hooks.exits", "hooks.fork"),
    ("hooks.runtimes",),
    ("client.background",),
    ("client.client",),
    ("metrics",),
    ("client",),
    ("delivery.transport", "receiver", "ecs"),
    ("client.pump", "client.upkeep", "client.schedule", "client.parts"),
    ("delivery", "client.intake", "buffer.overflow"),
    ("buffer", "spool", "run.lines", "metrics.emf"),
    ("stderr",),
    ("protocol", "installation.tracing", "hooks", "httpjson"),
    ("hooks.interruptions",),
    ("settings", "reasons"),
    ("errors",),
]
PURE = (
    "protocol",
    "delivery",
    "metrics.emf",
    "metrics.measures",
    "receiver.lines",
    "receiver.session",
    "spool.format",
    "spool.chunks",
    "spool.segments",
    "spool.slots",
    "run.multiline",
    "run.deadlines",
    "deployment.linting",
    "deployment.doctor.result",
    "deployment.doctor.surroundings",
)
IMPURE_MODULES = {"asyncio", "socket", "threading", "os", "time", "random", "logging"}
LAZY = {"prometheus_client": "metrics", "click": "cli"}


def modules() -> list[str]:
    """Return all modules, relative to the package."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths)


def matches(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def layer_of(module: str) -> int:
    """Return the layer of the longest room that the module is in; 0 is the top."""
    rooms = [
        (len(room), layer)
        for layer, names in enumerate(LAYERS)
        for room in names
        if matches(module, room)
    ]
    assert rooms, f"logship.{module} is in no room of LAYERS: say where it belongs"
    return max(rooms)[1]


def imports_of(module: str, *, runtime_only: bool = False) -> Iterator[str]:
    """Yield the full names that a module imports, `a.b.c` for `from a.b import c`."""
    tree = ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if runtime_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(id(each) for child in node.body for each in ast.walk(child))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"logship.{module}: a relative import hides where it points"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports_of(module: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports, relative to the package."""
    known = modules()
    for name in imports_of(module, runtime_only=True):
        if name == "logship" or name.startswith("logship."):
            target = name.removeprefix("logship").removeprefix(".")
            while target and target not in known and f"{target}.__init__" not in known:
                target = target.rpartition(".")[0]
            yield target or "__init__"


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    for target in own_imports_of(module):
        if target.partition(".")[0] == module.partition(".")[0] and "process" not in target:
            continue  # within a room
        if target == "__init__":
            continue  # `from logship import living` and the like resolve to the module itself
        assert layer_of(module) <= layer_of(target), f"logship.{module} imports logship.{target}"


def is_pure(module: str) -> bool:
    """Tell whether a module is in a pure room; the sockets are beside the decisions."""
    return module != "delivery.transport" and any(matches(module, room) for room in PURE)


@pytest.mark.parametrize("module", [each for each in modules() if is_pure(each)])
def test_pure_modules_do_no_io(module: str) -> None:
    imported = {name.partition(".")[0] for name in imports_of(module)}
    assert not imported & IMPURE_MODULES


@pytest.mark.parametrize("module", modules())
def test_nothing_imports_the_test_tools(module: str) -> None:
    if not matches(module, "testing"):
        assert not [name for name in own_imports_of(module) if matches(name, "testing")]


def test_client_and_receiver_know_nothing_of_each_other() -> None:
    rooms = ("client", "delivery")
    for module in modules():
        targets = list(own_imports_of(module))
        if matches(module, "receiver"):
            assert not [name for name in targets if any(matches(name, room) for room in rooms)]
        if any(matches(module, room) for room in rooms):
            assert not [name for name in targets if matches(name, "receiver")]


@pytest.mark.parametrize("module", modules())
def test_large_libraries_are_imported_in_one_room_only(module: str) -> None:
    for name in imports_of(module):
        room = LAZY.get(name.partition(".")[0])
        assert room is None or matches(module, room), f"logship.{module} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    # Without a drain: some statements leave records behind that nobody will take.
    program = f"{statement}; import os, sys; print(*sys.modules, flush=True); os._exit(0)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ended.stdout.split())


def test_import_logship_pays_for_nothing_large() -> None:
    loaded = loaded_by("import logship")
    large = {
        "prometheus_client",
        "click",
        "msgpack",
        "tenacity",
        "asyncio",
        "logship.client.client",
    }
    assert not loaded & large


def test_the_client_needs_neither_prometheus_nor_click() -> None:
    loaded = loaded_by("from logship import BackgroundClient, Client, Handler, install")
    assert "logship.client.client" in loaded
    assert not loaded & {"prometheus_client", "click", "logship.cli", "logship.receiver"}


# A program whose sidecar answers, without spool, key, metrics and ECS, needs none of these to
# start. They are named because nobody would see one more in a measured start.
NOT_AT_START = {
    *("tenacity", "prometheus_client", "click", "pathlib", "tempfile", "shutil", "hashlib"),
    *("hmac", "ipaddress", "random", "http.client", "urllib.parse", "email", "importlib.metadata"),
    *("logship.spool.storage", "logship.spool"),
    *("logship.metrics.outlet", "logship.metrics.pages", "logship.metrics.prometheus"),
    *("logship.protocol.handshake", "logship.protocol.messages", "logship.httpjson"),
    *("logship.tasknews", "logship.recover", "logship.receiver", "logship.run"),
    *("logship.cli",),
}


def test_a_start_and_the_first_record_import_nothing_that_few_need() -> None:
    base = loaded_by("import logging, asyncio")
    with socket.create_server(("127.0.0.1", 0)) as server:
        install = f"logship.install(endpoints='tcp://127.0.0.1:{server.getsockname()[1]}')"
        record = "logging.getLogger().info('a record of %s', 7)"
        loaded = loaded_by(f"import logging, asyncio, logship; {install}; {record}")
    assert "logship.installation.installation" in loaded
    assert not (loaded - base) & NOT_AT_START


def test_the_exit_imports_only_what_the_next_attempt_to_connect_waits_by() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        unused = server.getsockname()[1]
    program = (
        "import atexit, logging, sys; known = set()\n"
        "atexit.register(lambda: print(*({*sys.modules} - known)))  # behind our own exit hook\n"
        "import logship\n"
        f"logship.install(endpoints='tcp://127.0.0.1:{unused}', exit_stall_seconds=0.5)\n"
        "known = {*sys.modules}\n"
        "logging.getLogger().info('the last words')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert '"the last words"' in ended.stderr, "it was spilled"
    assert not {*ended.stdout.split()} - loaded_by("import tenacity")
