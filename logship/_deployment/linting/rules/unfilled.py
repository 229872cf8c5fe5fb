"""Values that a tool should have filled in, and did not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from logship._deployment.linting.model import ECS, KUBERNETES, Container, Mistake, Unit
from logship._deployment.linting.rules.rule import error, note

_PLACEHOLDER = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]{0,60}\}")


@note(
    "placeholder",
    finds="a `${NAME}` in an image, a `LOGSHIP_*` variable or an option of the log driver",
    night="the container gets the text `${NAME}` itself, unless a tool fills it in",
    why=(
        "ECS and Kubernetes expand no `${NAME}`; Kubernetes expands `$(NAME)` in variables. So "
        "check the file that a tool such as `envsubst` has filled in. Commands and other variables "
        "are left out, because the program may expand them."
    ),
    platforms=(ECS, KUBERNETES),
    keys=("image", "environment", "env"),
)
def _placeholder(unit: Unit) -> Iterator[Mistake]:
    for container in unit.containers:
        found = dict.fromkeys(
            name for text in _texts(container) for name in _PLACEHOLDER.findall(text)
        )
        if found:
            names = ", ".join(found)
            night = f"nothing expands {names} in this file: the container gets this text itself"
            change = "fill it in, as with envsubst, and check the result"
            yield Mistake(container.name, night, change)


def _texts(container: Container) -> Iterator[str]:
    """Yield the texts that nothing expands once the file is registered or applied."""
    yield container.image
    yield from container.log_options.values()
    for name, value in container.environment.items():
        if name.startswith("LOGSHIP_"):
            yield value or ""


@error(
    "empty-image",
    finds="a container whose image is empty",
    night="the file is refused, or the container does not start",
    why="`envsubst` replaces a variable that is not set by nothing, and reports no error.",
    platforms=(ECS, KUBERNETES),
    keys=("image",),
)
def _empty_image(unit: Unit) -> Iterator[Mistake]:
    for container in unit.containers:
        if container.image_is_empty:
            quote = '"image": "…"' if unit.platform == ECS else "image: …"
            yield Mistake(container.name, f"{container.name} has no image to start", quote)
