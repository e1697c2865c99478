"""Python's own modules come before those of the folder that a command is started in.

``python -m rlottery`` searches the current folder first, and so does every command if PYTHONPATH has an empty entry. A
script's own folder is searched first too. A `queue.py` or a `yaml.py` there would run in place of the module that is
meant. So `import rlottery` imports this first, which imports only what Python itself has loaded by then. Programs other
than rlottery's commands are left alone.
"""

# ruff: noqa: PTH100, PTH109, PTH119, PTH120, SIM105
# (pathlib and contextlib may not be loaded yet)

import os
import sys

SCRIPT = "run_pipeline.py"
"""The name of the script that `rlottery init` writes."""


def tidy(path: list[str], argv: list[str], asked: list[str]) -> None:
    """Change a search path in place, if the process is one of rlottery's commands.

    Args:
        path: as `sys.path`.
        argv: as `sys.argv`. Its first word is ``-m`` while Python looks for the module.
        asked: as `sys.orig_argv`, the words that Python itself was started with.
    """
    program = os.path.basename(argv[0]) if argv else ""
    as_module = program == "-m" and not {"rlottery", "-mrlottery"}.isdisjoint(asked)
    if not as_module and program not in ("rlottery", "rlottery.exe", SCRIPT):
        return
    here = os.getcwd()
    if as_module and not sys.flags.safe_path and path and path[0] in ("", here):
        del path[0]
    if program == SCRIPT and path and path[0] == os.path.dirname(os.path.abspath(argv[0])):
        path.append(path.pop(0))  # its modules are the user's own tasks and criteria
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if len(listed) > 1 and "" in listed and here not in listed:
        own = os.path.dirname(os.__file__)
        end = path.index(own) if own in path else 0
        path[:end] = [place for place in path[:end] if place not in ("", here)]


try:
    tidy(sys.path, getattr(sys, "argv", []), sys.orig_argv)
except OSError:
    pass  # the current folder is gone, and nothing can be imported from it
