"""What an image installs."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.model import Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import error


@error(
    finds="a `RUN` that installs `logship` from the index, another project's package",
    effect="`import logship` finds another project's package, and the program does not start",
    platforms=(Platform.DOCKERFILE,),
    keys=("RUN",),
)
def _other_package(unit: Unit) -> Iterator[Mistake]:
    """On the index the name `logship` belongs to another project, which has the same directory;
    this package is `logship-forward`. The rule looks at each stage, because a last stage may copy
    what another one installed.
    """
    for container in unit.of_logship:
        if container.installs_other_package:
            change = "COPY logship_forward-*.whl /tmp/, and RUN pip install /tmp/logship_forward-*"
            yield Mistake(container.name, None, change)
