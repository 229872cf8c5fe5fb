"""What an image installs."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.model import Container, Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import of_logship


@of_logship.error(
    finds="a `RUN` that installs `logship` from the index, another project's package",
    effect="`import logship` finds another project's package, and the program does not start",
    platforms=(Platform.DOCKERFILE,),
    keys=("RUN",),
)
def _other_package(_: Unit, container: Container) -> Iterator[Mistake]:
    """On the index the name `logship` belongs to another project, which has the same directory;
    this package is `logship-forward`. The rule looks at each stage, because a last stage may copy
    what another one installed.
    """
    if container.installs_other_package:
        wheel = "/tmp/logship_forward-*"  # noqa: S108 - in an image
        yield Mistake(f"COPY logship_forward-*.whl /tmp/, and RUN pip install {wheel}")
