"""Python imports this module at its start in `logship run --install`: see `installing.py`.

It hides another module of its name, and imports that one first. Whatever fails is one line on
stderr, and the program goes on. Python 2.7 and each later version can read this file.
"""

import os
import sys

_this = sys.modules.pop("sitecustomize")
sys.path[:] = [each for each in sys.path if each != os.path.dirname(__file__)]
try:
    import sitecustomize  # noqa: F401 - where there is none, Python expects this error
finally:
    try:
        if sys.version_info < (3, 11):
            raise ImportError("this Python is older than 3.11")
        from logship._installation import first_record

        first_record.await_it()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the program must start
        _line = "logship run --install: only the lines of this program are shipped (%s: %s)\n"
        try:
            sys.stderr.write(_line % (sys.executable, error))
        except Exception:  # noqa: BLE001 - stderr is closed
            pass
