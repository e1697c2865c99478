"""Exported policies as programs of ``torch.export``, which torch loads alone. Torch runs in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlottery.agents.normalization import LARGEST, LEAST_VARIANCE
from rlottery.errors import StudyError
from rlottery.export.folded_policy import FoldedPolicy
from rlottery.export.formats import Computed

VARIABLE = "RLOTTERY_TORCH_PYTHON"
"""The environment variable that names a Python with torch, if this one has none."""
SECONDS = 600
"""The longest that torch may take."""
_ADVICE = (
    "It needs torch 2.6 or later. Install it next to rlottery (pip install torch; pytorch.org says how to choose a "
    f"build), or name a Python that has it: {VARIABLE}=/path/to/python"
)
_CHILD = Path(__file__).with_name("torch_child.py")
_OTHERS_SETTINGS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What this Python's environment has for itself."""


def content(policy: FoldedPolicy) -> bytes:
    """The file. `FoldedPolicy.about` is JSON in its extra file ``rlottery.json``."""
    (data,) = contents([policy])
    return data


def actions(data: bytes, policy: FoldedPolicy, observations: NDArray[np.float32]) -> Computed:
    (found,), reader = computed([data], [policy], [observations])
    return Computed(found, reader)


def contents(policies: Sequence[FoldedPolicy]) -> list[bytes]:
    """The files of several policies.

    Raises:
        StudyError: there is no torch, or it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = _places(folder, len(policies))
        for place, policy in zip(places, policies, strict=True):
            arrays = _arrays(policy)
            (place / "arrays.bin").write_bytes(b"".join(map(np.ndarray.tobytes, arrays.values())))
            (place / "about.json").write_text(json.dumps(_about(policy, arrays)))
        _run("write", places)
        return [(place / "policy.pt2").read_bytes() for place in places]


def computed(
    files: Sequence[bytes], policies: Sequence[FoldedPolicy], observations: Sequence[NDArray[np.float32]]
) -> tuple[list[np.ndarray], str]:
    """The actions that the files of policies compute of observations (batch, obs), and torch's version.

    Raises as `contents`.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = _places(folder, len(files))
        for place, data, seen in zip(places, files, observations, strict=True):
            (place / "policy.pt2").write_bytes(data)
            (place / "observations.bin").write_bytes(np.ascontiguousarray(seen, np.float32).tobytes())
            (place / "rows").write_text(str(len(seen)))
        version = _run("act", places)
        acted = []
        for place, policy in zip(places, policies, strict=True):
            continuous, size = policy.policy.first_action is None, policy.policy.action_size
            numbers = np.frombuffer((place / "actions.bin").read_bytes(), np.float32 if continuous else np.int64)
            acted.append(numbers.reshape(-1, size) if continuous else numbers)
        return acted, f"torch {version}"


def _places(folder: str, number: int) -> list[Path]:
    """A folder for each policy."""
    places = [Path(folder) / str(index) for index in range(number)]
    for place in places:
        place.mkdir()
    return places


def _arrays(policy: FoldedPolicy) -> dict[str, NDArray[np.float32]]:
    """What a program computes with, by name."""
    acts, arrays = policy.policy, dict[str, NDArray[np.float32]]()
    for index, layer in enumerate(policy.connected):
        arrays |= {f"layer_{index}.kernel": layer.kernel, f"layer_{index}.bias": layer.bias}
    if acts.statistics is not None:
        mean, variance = acts.statistics
        arrays |= {"mean": mean, "deviation": np.sqrt(variance + np.float32(LEAST_VARIANCE))}
    if acts.first_action is None:
        arrays |= {"low": acts.action_low, "high": acts.action_high}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _about(policy: FoldedPolicy, arrays: dict[str, NDArray[np.float32]]) -> dict[str, object]:
    return {
        "arrays": [[name, array.shape] for name, array in arrays.items()],
        "layers": len(policy.connected),
        "most": LARGEST,
        "squash": policy.policy.squash,
        "activation": policy.policy.activation,
        "first_action": policy.policy.first_action,
        "told": json.dumps(policy.about),
    }


def _run(what: str, places: Sequence[Path]) -> str:
    """Let a Python with torch do `what` in these folders. Returns torch's version."""
    other = os.environ.get(VARIABLE)
    python, environment = other or sys.executable, dict(os.environ)
    if other:
        environment = {name: value for name, value in environment.items() if name not in _OTHERS_SETTINGS}
    # In a folder of its own, because Python first imports modules from where a script is.
    script = Path(shutil.copy(_CHILD, places[0].parent))
    command: list[str | Path] = [python, script, what, *places]
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=script.parent,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StudyError(f"--format torch: {python} can't be used: {error}. {_ADVICE}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"])[-1]
        raise StudyError(f"--format torch: {python} can't write the program with torch: {last[:500]}. {_ADVICE}")
    return done.stdout.strip().splitlines()[-1]
