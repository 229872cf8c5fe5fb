"""Walks every import of the package: arrows point down only, and pure rooms do no I/O.

An import counts wherever it stands: at the top, inside a function, for type checking alone, or as a
string that is given to `import_module` or `late`.
"""

from __future__ import annotations

import ast
import functools
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

import logship
from tests.support.commands import ran_python

ROOT = Path(logship.__file__).parent

# From the top to the bottom. A room may import from rooms below it and from itself. The order is
# that of docs/architecture.md.
LAYERS: list[tuple[str, ...]] = [
    ("__main__", "_cli", "metrics", "testing"),
    ("__init__",),
    ("_run", "_deployment", "_top"),
    ("_installation.installation",),
    ("_process.watchdog",),
    ("_installation", "_recover", "_audit", "_process.signals"),
    ("_process",),
    ("_hooks.runtimes",),
    ("_client.background", "_client.thread"),
    ("_client.client", "_client.emitter"),
    ("_client.shipper",),
    ("_metrics",),
    ("_client",),
    ("_delivery.transport", "_delivery.resolver", "_delivery.credentials", "_receiver", "_ecs"),
    (
        "_client.pump",
        "_client.upkeep",
        "_client.schedule",
        "_client.parts",
        "_client.flush",
    ),
    ("_client.intake", "_buffer.overflow"),
    ("_client.shaping", "_stderr.spill"),
    ("_client.context",),
    ("_spool", "_run.lines"),
    ("_buffer",),
    ("_delivery", "_stderr"),
    ("_protocol", "_installation.tracing", "_hooks"),
    ("_hooks.interruptions",),
    ("_settings",),
    (
        "errors",
        "_namesake",
        "_quoting",
        "_reasons",
        "_redaction",
        "_signal_names",
        "_spelling",
        "_system",
        "_version",
    ),
]
PURE = (
    "_protocol",
    "_delivery",
    "_reasons",
    "_redaction",
    "_ecs.task",
    "_ecs.advice",
    "_audit.ages",
    "_audit.audit",
    "_audit.evidence",
    "_audit.lines",
    "_audit.ranges",
    "_audit.reports",
    "_audit.verdict",
    "_audit.text",
    "_metrics.client_measures",
    "_metrics.emf",
    "_metrics.page_format",
    "_metrics.measures",
    "_metrics.sums",
    "_receiver.session",
    "_spool.format",
    "_spool.chunks",
    "_spool.segments",
    "_spool.slots",
    "_run.multiline",
    "_run.deadlines",
    "_top.figures",
    "_top.text",
    "_deployment.limits",
    "_deployment.linting",
    "_deployment.planning.arithmetic",
    "_deployment.planning.plan",
    "_deployment.planning.text",
    "_deployment.doctor.result",
    "_deployment.doctor.surroundings",
)
BESIDE_PURE = (
    "_delivery.transport",
    "_delivery.resolver",
    "_delivery.credentials",
    "_delivery.racing",
)
IMPURE_MODULES = {"asyncio", "socket", "threading", "os", "time", "random", "logging"}
LAZY = {"prometheus_client": "_metrics.prometheus", "click": "_cli"}
IMPORTERS = {"import_module", "late"}
CYCLES_LEFT: list[list[str]] = []
"""Cycles that are to go; none may be added."""


class Text(ast.Constant):
    """A constant that is a text."""

    value: str


@functools.cache
def modules() -> list[str]:
    """Return all modules, relative to the package; a package's own one ends in `__init__`."""
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


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_text())


@functools.cache
def imports_of(module: str) -> list[str]:
    """Return the full names that a module imports, `a.b.c` for `from a.b import c`."""
    names: list[str] = []
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"logship.{module}: a relative import hides where it points"
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return [*names, *strings_imported_by(module)]


def strings_imported_by(module: str) -> Iterator[str]:
    """Yield what a module may import by name.

    An argument of an importing function counts, and in a module that calls one with another
    expression, so does each string that names a module or a package of logship.
    """
    arguments = [
        node.args[0]
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call) and node.args and called_name(node) in IMPORTERS
    ]
    yield from (each.value for each in arguments if is_text(each))
    if any(not is_text(each) for each in arguments):
        for node in ast.walk(tree_of(module)):
            if is_text(node) and node.value.startswith("logship."):
                yield from modules_named(node.value)


def called_name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def is_text(node: ast.AST) -> TypeGuard[Text]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def modules_named(name: str) -> list[str]:
    """Return the modules of this name, or those of a package where it ends in a dot."""
    known = [f"logship.{each.removesuffix('.__init__')}" for each in modules()]
    return [each for each in known if each == name or (name[-1] == "." and each.startswith(name))]


def own_imports_of(module: str) -> set[str]:
    """Return the modules of this package that a module imports, relative to the package."""
    names = {name for name in imports_of(module) if f"{name}.".startswith("logship.")}
    return {own_module(name) for name in names} - {module}


@functools.cache
def own_module(name: str) -> str:
    """Return the module that an imported name is, or is in."""
    target = name.removeprefix("logship").removeprefix(".")
    while target and target not in modules() and f"{target}.__init__" not in modules():
        target = target.rpartition(".")[0]
    return target if target in modules() else f"{target}.__init__".removeprefix(".")


def room_of(module: str) -> str:
    """Return the room within which imports may point anywhere, as long as no cycle comes of it."""
    return module if matches(module, "_process") else module.partition(".")[0]


def test_imports_point_down() -> None:
    for module in modules():
        for target in own_imports_of(module):
            if room_of(target) != room_of(module):
                assert layer_of(module) <= layer_of(target), f"{module} imports {target}"


def test_there_is_no_cycle() -> None:
    assert cycles() == CYCLES_LEFT


def cycles() -> list[list[str]]:
    """Return the groups of modules that reach each other: what remains when ends are cut off."""
    left = {module: own_imports_of(module) for module in modules()}
    while ends := {module for module, targets in left.items() if not targets & left.keys()}:
        left = {module: targets for module, targets in left.items() if module not in ends}
    reached = {module: reachable(module, left) for module in left}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in left
        if module in reached[module]
    }
    return sorted(sorted(each) for each in groups)


def reachable(start: str, imports: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = (imports[waiting.pop()] & imports.keys()) - seen
        seen |= fresh
        waiting += fresh
    return seen


def test_every_room_that_is_named_exists() -> None:
    own = {each.removeprefix("logship.") for each in NOT_AT_START if each.startswith("logship.")}
    for room in {*PURE, *LAZY.values(), *own}.union(*LAYERS):
        assert any(matches(module, room) for module in modules()), room


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import_module('logship.errors')", {"errors"}),
        ("importlib.import_module('logship._metrics')", {"_metrics.__init__"}),
        ("late('logship._metrics.pages')", {"_metrics.pages"}),
        (
            "HOMES = {'x': 'logship.errors', 'y': 'no module'}\nimport_module(HOMES[name])",
            {"errors"},
        ),
        ("import_module(f'logship._audit.{name}')", {"_audit.lines", "_audit.text"}),
        ("if TYPE_CHECKING:\n    from logship.errors import LogshipError", {"errors"}),
        ("print('logship.errors')", set()),
    ],
)
def test_the_walk_finds_imports_of_every_kind(
    monkeypatch: pytest.MonkeyPatch, text: str, found: set[str]
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "tree_of", lambda _: ast.parse(text))
    imported = own_imports_of(text)  # a name of its own: what a module imports is kept
    assert found <= imported
    assert bool(found) == bool(imported)


def is_pure(module: str) -> bool:
    """Tell whether a module is in a pure room; sockets and files are beside the decisions."""
    return module not in BESIDE_PURE and any(matches(module, room) for room in PURE)


def test_pure_modules_do_no_io() -> None:
    for module in filter(is_pure, modules()):
        imported = {name.partition(".")[0] for name in imports_of(module)}
        assert not imported & IMPURE_MODULES, module


def test_nothing_imports_the_test_tools() -> None:
    for module in modules():
        if not matches(module, "testing"):
            assert not [name for name in own_imports_of(module) if matches(name, "testing")]


def test_client_and_receiver_know_nothing_of_each_other() -> None:
    shipping = ("_client", "_delivery")
    for module in modules():
        targets = own_imports_of(module)
        if matches(module, "_receiver"):
            assert not [name for name in targets if any(matches(name, room) for room in shipping)]
        if any(matches(module, room) for room in shipping):
            assert not [name for name in targets if matches(name, "_receiver")]


def test_large_libraries_are_imported_in_one_room_only() -> None:
    for module in modules():
        for name in imports_of(module):
            room = LAZY.get(name.partition(".")[0])
            assert room is None or matches(module, room), f"logship.{module} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    # Without a drain: some statements leave records that no sidecar will take.
    program = f"{statement}; import os, sys; print(*sys.modules, flush=True); os._exit(0)"
    return set(ran_python(program).stdout.split())


def test_import_logship_pays_for_nothing_large() -> None:
    loaded = loaded_by("import logship")
    large = {
        "prometheus_client",
        "click",
        "msgpack",
        "tenacity",
        "asyncio",
        "logship._client.client",
    }
    assert not loaded & large


# A program whose sidecar answers, without spool, key, metrics and ECS, needs none of these to
# start. They are named because a measured start would not show one more.
NOT_AT_START = {
    *("tenacity", "prometheus_client", "click", "difflib", "pathlib", "tempfile", "shutil"),
    *(
        "hashlib",
        "hmac",
        "ipaddress",
        "random",
        "http.client",
        "urllib.parse",
        "email",
        "importlib.metadata",
    ),
    *("logship._spool.storage", "logship._spool.orphans", "logship._spool.segments"),
    *("logship._metrics.outlet", "logship._metrics.pages", "logship._metrics.prometheus"),
    "logship._metrics.emf",
    *("logship._protocol.handshake", "logship._protocol.messages", "logship._ecs.httpjson"),
    *("logship._protocol.compression", "logship._ecs.task", "logship._ecs.advice", "queue"),
    *("logship._installation.announcement", "logship._installation.console"),
    *("logship._recover", "logship._receiver"),
    *("logship._run", "logship._cli"),
}


def test_a_start_and_the_first_record_import_nothing_that_few_need() -> None:
    base = loaded_by("import logging, asyncio")
    with socket.create_server(("127.0.0.1", 0)) as server:
        install = f"logship.install(endpoints='tcp://127.0.0.1:{server.getsockname()[1]}')"
        record = "logging.getLogger().info('a record of %s', 7)"
        loaded = loaded_by(f"import logging, asyncio, logship; {install}; {record}")
    assert "logship._installation.installation" in loaded
    assert not (loaded - base) & NOT_AT_START


def test_named_tuples_of_a_start_have_no_texts_as_annotations() -> None:
    """Each would be compiled at each start of a program."""
    loaded = loaded_by("import logship; logship.install(disabled=True)")
    for module in filter(lambda each: f"logship.{each}" in loaded, modules()):
        bases = {
            getattr(base, "id", "")
            for node in ast.walk(tree_of(module))
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        }
        has_texts = "__future__.annotations" in {*imports_of(module)}
        assert not (has_texts and "NamedTuple" in bases), module


@pytest.mark.parametrize(
    "options",
    [
        "endpoints='tcp://127.0.0.1:{port}'",
        "endpoints='tcp://localhost:{port}', report='emf', compress='gzip', loggers='*', "
        "firelens_tag=True, high_water_seconds=1, console=True",
    ],
)
def test_the_exit_imports_nothing(port: int, options: str) -> None:
    program = (
        "import atexit, logging, sys; known = set()\n"
        "atexit.register(lambda: print(*({*sys.modules} - known)))  # behind our own exit hook\n"
        "import logship\n"
        f"logship.install({options.format(port=port)}, exit_stall_seconds=0.5)\n"
        "known = {*sys.modules}\n"
        "logging.getLogger().info('the last words')"
    )
    ended = ran_python(program)
    assert '"the last words"' in ended.stderr, "it was spilled"
    assert not ended.stdout.split()
