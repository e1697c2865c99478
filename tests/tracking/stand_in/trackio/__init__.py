"""A library in the place of Trackio: it writes what it is given to a file, and fails as its variable says.

STAND_IN_FILE: what it is given, one JSON object per line. STAND_IN_FAULT: prints, raises, exits, hangs or kills.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

_run: dict[str, Any] = {}


def init(**arguments: Any) -> None:
    _run.clear()
    _run.update(arguments)
    _write({"begins": arguments["name"], "config": arguments["config"]})


def log(values: dict[str, float], step: int) -> None:
    match os.environ.get("STAND_IN_FAULT"):
        case "prints":
            print("noise " * 100, flush=True)
            print("noise " * 100, file=sys.stderr, flush=True)
        case "raises":
            raise ConnectionError("no way to http://me:s@cret@server")
        case "exits":
            sys.exit(3)
        case "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hangs":
            time.sleep(1e6)
    _write({"run": _run["name"], "step": step, "values": values})


def finish() -> None:
    _write({"ends": _run["name"]})


def _write(entry: dict[str, Any]) -> None:
    with Path(os.environ["STAND_IN_FILE"]).open("a") as file:
        file.write(json.dumps(entry) + "\n")
