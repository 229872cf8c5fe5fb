"""Whether the stop signal reaches the program: what a container's first process is."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.commands import npm_script, script_file, shell_script
from logship._deployment.linting.model import Container, Mistake, Unit
from logship._deployment.linting.rules.rule import WITH_IMAGES, of_logship
from logship._deployment.linting.rules.snippets import command
from logship._deployment.linting.shell import hands_over, has_pipeline

_KEYS = ("command", "args", "entryPoint", "entrypoint", "ENTRYPOINT", "CMD")


@of_logship.error(
    finds="a shell as first process that does not pass SIGTERM on",
    effect="SIGTERM never reaches the program; SIGKILL ends it without a drain",
    platforms=WITH_IMAGES,
    keys=_KEYS,
)
def _shell_entrypoint(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A shell passes no signal on to its children, also behind `logship run` without
    `--signal-group`. Some shells replace themselves with the command if a script has only one;
    other shells, and all shells with more than one command, do not. `exec` before the last command
    always replaces the shell. In a Dockerfile, ENTRYPOINT and CMD without a list of words run in a
    shell too.
    """
    # The script is not shown, because a password may be in it.
    script = shell_script(container)
    if script is None or hands_over(script):
        return
    words: tuple[str, ...] = ("sh", "-c", "… exec …")
    if has_pipeline(script):  # more than one process needs the signal
        words = ("logship", "run", "--signal-group", "--", "sh", "-c", "…")
    yield Mistake(command(unit, *words))


@of_logship.error(
    finds="npm as first process",
    effect="SIGTERM never reaches the program; SIGKILL ends it without a drain",
    platforms=WITH_IMAGES,
    keys=_KEYS,
)
def _npm_entrypoint(unit: Unit, container: Container) -> Iterator[Mistake]:
    """`npm start` and `npm run` start the program through a shell, and do not pass SIGTERM on to it
    (observed with npm 11). Start the program itself, or give `logship run` the `--signal-group`.
    """
    if npm_script(container):
        yield Mistake(command(unit, "node", "…"))


@of_logship.note(
    finds="a script as first process, which may not pass SIGTERM on",
    effect="SIGTERM may never reach the program; SIGKILL ends it without a drain",
    platforms=WITH_IMAGES,
    keys=_KEYS,
)
def _script_entrypoint(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A script runs in a shell, and a shell passes no signal on, unless the script's last command
    begins with `exec`. Give the script as another FILE: then the rule checks its last command.
    """
    path = script_file(container)
    if path is None:
        return
    text = unit.named(path.rpartition("/")[2])
    if text is None:
        effect = (
            f"the script {path:.100} is the first process, and SIGTERM reaches the program "
            "only if it ends in `exec …`; this file does not show it"
        )
        change = f"exec … as its last command; `logship lint FILE… {path:.100}` checks it"
    elif not hands_over(text):
        effect = f"{path:.100} does not end in `exec …`: SIGTERM never reaches the program"
        change = f"exec … as the last command of {path:.100}"
    else:
        return
    yield Mistake(change, effect)
