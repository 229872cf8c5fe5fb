"""The package `logship` on the index is another project's, and has the same directory.

`pip` lets each of the two overwrite and remove files of the other, and says nothing.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))

ADVICE = (
    "pip uninstall logship, then install logship-forward again with --force-reinstall --no-deps"
)


def other_distribution(package: str = _HERE) -> str | None:
    """Return the name of the other project's metadata beside a package, or None.

    Args:
        package: The directory of the package.
    """
    try:
        names = os.listdir(os.path.dirname(package))
    except OSError:
        return None
    ends = (".dist-info", ".egg-info")
    found = (each for each in names if each.startswith("logship-") and each.endswith(ends))
    return next(found, None)


def is_replaced() -> bool:
    """Tell whether `import logship` finds the other project's file, or none."""
    return "__version__" not in vars(sys.modules[__package__])
