"""Sends a run to a tracker, as one session of a command: send_run.py CHECKOUT TRACKER SETTINGS RUN FOLDER, in JSON."""

import json
import os
import sys
from pathlib import Path

checkout, tracker, settings, run, folder = sys.argv[1:]
sys.path.insert(0, checkout)

from rlottery.config import Tracking  # noqa: E402
from rlottery.tracking.sender import Sender  # noqa: E402
from rlottery.tracking.sinks import make_sink  # noqa: E402
from rlottery.tracking.tracked_run import TrackedRun  # noqa: E402

((name, chosen),) = Tracking.model_validate({tracker: json.loads(settings)}).chosen.items()
sender = Sender(name, make_sink(name, chosen, Path(folder), "a study"))
sender.send(TrackedRun.from_json(json.loads(run)))
sender.close()
os._exit(0)
