"""The `logship` command of the self-contained build: where its process begins.

The build's loader points LD_LIBRARY_PATH at the libraries that it brings, and leaves notes to
itself in the environment. `logship run` hands its environment to a program that has libraries of
its own, and would not start with ours. So the environment is put back first, as it was given.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_LIBRARIES = "LD_LIBRARY_PATH"
_LIBRARIES_GIVEN = "LD_LIBRARY_PATH_ORIG"
_NOTES = ("_PYI_", "_MEIPASS")


def restore(environ: MutableMapping[str, str]) -> None:
    """Take out of the environment what the loader put in; the libraries are loaded by now."""
    given = environ.pop(_LIBRARIES_GIVEN, None)
    environ.pop(_LIBRARIES, None)
    if given is not None:
        environ[_LIBRARIES] = given
    for name in [each for each in environ if each.startswith(_NOTES)]:
        del environ[name]


if __name__ == "__main__":
    restore(os.environ)

    from logship._cli import main

    main()
