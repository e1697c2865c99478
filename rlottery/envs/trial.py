"""A trial of a task: a few short episodes that show whether it keeps what training and evaluation rely on.

A run has two environments at the same time, one for training and one for evaluation. It may be interrupted, and
continues in new ones. All arms of a study are evaluated on the same episodes. So an episode must follow from the seed
of its reset and from the actions alone. Whatever breaks that is found here, before hours of training.
"""

import contextlib
import hashlib
import random
import re
import site
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlottery.config import Deviation, Task
from rlottery.envs.environment import Environment, make, with_version
from rlottery.errors import TaskError, error_text

MOST_STEPS = 1_000
"""The most steps of an episode that are tried."""
SECONDS = 2.0
"""How long the steps of an episode may take. A slow one is cut short, but not before `LEAST_STEPS`."""
LEAST_STEPS = 10
SHORT = 100
"""Steps of an episode that is repeated."""
_PACKAGES = ("gymnasium", "metaworld", "mujoco", "numpy")
_SEEDS = (0x5EED0001, 0x5EED0002)


def try_task(task: str, kwargs: dict[str, Any], rendering: bool = False, has_runs: bool = False) -> dict[str, Any]:
    """Try a task in this process, which the task's code may change or end.

    Args:
        rendering: whether to try to render it, which may take seconds.
        has_runs: whether the study has runs of it. Then an id without a version is only noted.

    Returns:
        The fields of `rlottery.storage.trial_record.Trial`, of JSON types.

    Raises:
        TaskError: the task can't be made or used at all, or its id lacks a version and it has no runs; or what its own
            code raises.
    """
    notes: list[str] = []
    one = make(task, kwargs)
    if (versioned := with_version(task)) is not None:
        why = f"Task {task!r} has no version, so it would be another task once there is a newer one."
        if not has_runs:
            one.close()
            raise TaskError(f"{why} Write {versioned}.")
        notes.append(f"{why} In another study, write {versioned}.")
    other = _second(task, kwargs)
    began = time.perf_counter()
    first, ended = _play(one, _SEEDS[0], MOST_STEPS)
    seconds = time.perf_counter() - began
    second, _ = _play(one, _SEEDS[1], MOST_STEPS)
    deviations = _deviations(one, other, first, second, lambda: make(task, kwargs))
    if not _difference(first, second):
        notes.append("Every episode starts alike: the seed of reset(seed=...) changes nothing.")
    if not ended and len(first) > MOST_STEPS:
        notes.append(
            f"The first episode hasn't ended after {MOST_STEPS:,} steps. If episodes have no end of their own, give "
            "the task a time limit: kwargs: {max_episode_steps: 1000}."
        )
    for environment in (one, other):
        with _noted(notes, "close() fails; this costs nothing but a line in the log of each run"):
            environment.close()
    return {
        "kwargs": kwargs,
        "observation_size": one.observation_size,
        "action_size": one.action_size,
        "discrete": one.discrete,
        "success_key": one.success_key,
        "steps": len(first) - 1,
        "ended": ended,
        "steps_per_second": round((len(first) - 1) / max(seconds, 1e-9), 1),
        "deviations": deviations,
        "notes": list(dict.fromkeys(notes)),
        "rendering": _try_rendering(task, kwargs) if rendering else "",
        "packages": _packages_of(one),
        "sources": _own_sources(),
    }


class _Moment(NamedTuple):
    """What an agent sees of one step, at the precision that it sees it."""

    observation: bytes
    reward: bytes
    terminated: bool
    truncated: bool
    success: bool | None


_Episode = list[_Moment]
"""The start of an episode and its steps."""


def _second(task: str, kwargs: Mapping[str, Any]) -> Environment:
    try:
        return make(task, kwargs)
    except TaskError as error:
        raise TaskError(
            f"{task}: a run has two environments at the same time, one for training and one for evaluation, and the "
            f"second can't be made: {str(error).rstrip('.')}. Let the environment be made more than once in a process, "
            "such as by giving each its own connection, port or file."
        ) from None


def _steps(environment: Environment, seed: int, most: int) -> Iterator[_Moment]:
    """An episode of `seed`, step by step. Every episode has the same random actions."""
    observation, actions = environment.reset(seed), np.random.default_rng(0)
    yield _Moment(observation.tobytes(), b"", False, False, None)
    for _ in range(most):
        step = environment.step(_action(environment, actions))
        reward = np.float32(step.reward).tobytes()
        yield _Moment(step.observation.tobytes(), reward, step.terminated, step.truncated, step.success)
        if step.over:
            return


def _action(environment: Environment, generator: np.random.Generator) -> np.ndarray:
    if environment.discrete:
        chosen: np.ndarray = environment.actions.random(generator, 1)[0]
        return chosen
    # Wider than the limits, so that some entries are at them.
    wide: np.ndarray = generator.uniform(-1.2, 1.2, environment.action_size)
    return wide.clip(-1, 1).astype(np.float32)


def _play(environment: Environment, seed: int, most: int) -> tuple[_Episode, bool]:
    """An episode, or its start if it is long or slow, and whether it ended."""
    steps = _steps(environment, seed, most)
    episode, began = [next(steps)], time.perf_counter()
    for moment in steps:
        episode.append(moment)
        if time.perf_counter() - began > SECONDS and len(episode) > LEAST_STEPS:
            break
    return episode, episode[-1].terminated or episode[-1].truncated


def _deviations(
    one: Environment, other: Environment, first: _Episode, second: _Episode, another: Callable[[], Environment]
) -> dict[Deviation, str]:
    """How the task deviates from what training relies on. `one` has played `first`, then `second`; `other` is new."""
    drawn = _GlobalGenerators()
    # The other environment plays them in the other order.
    found = _difference(second, _play(other, _SEEDS[1], SHORT)[0]) or _difference(
        first, _play(other, _SEEDS[0], SHORT)[0]
    )
    if found:
        with contextlib.closing(another()) as new:
            differs = _difference(first, _play(new, _SEEDS[0], SHORT)[0])
        if differs:
            return {"unseeded": f"two new environments with the same seed and actions differ: {differs}.{drawn}"}
        return {"carryover": f"the same episode after other episodes differs: {found}.{drawn}"}
    if found := _difference(first, _interrupted(one, other, min(len(first), SHORT) // 2)):
        return {"interference": f"an episode differs while another environment is in use: {found}.{drawn}"}
    return {}


def _interrupted(one: Environment, other: Environment, after: int) -> _Episode:
    """The start of the first episode in `one`; the second episode in `other` takes place `after` that many moments."""
    steps = _steps(one, _SEEDS[0], SHORT)
    episode = list(islice(steps, after))
    _play(other, _SEEDS[1], SHORT)
    return [*episode, *steps]


def _difference(one: _Episode, other: _Episode) -> str:
    """What differs first between two episodes, as far as both go. "" if nothing does."""
    for step, (ours, theirs) in enumerate(zip(one, other, strict=False)):
        for name, mine, its in zip(_Moment._fields, ours, theirs, strict=True):
            if mine != its:
                where = f"the {name} of step {step}" if step else f"the first {name}"
                shown = _shown(mine), _shown(its)
                return f"{where} is {' or '.join(shown)}" if shown[0] != shown[1] else f"{where}, in its last digits"
    return ""


def _shown(value: bytes | bool | None) -> str:
    if not isinstance(value, bytes):
        return str(value)
    numbers = np.frombuffer(value, np.float32)
    shown = ", ".join(f"{number:.6g}" for number in numbers[:4]) + (", ..." if len(numbers) > 4 else "")
    return shown if len(numbers) == 1 else f"[{shown}]"


class _GlobalGenerators:
    """Says in a sentence which of the process's global generators have been drawn from since it was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def __str__(self) -> str:
        now = self._now()
        names = [name for name, state in self._before.items() if now[name] != state]
        return f" It draws from the global generator of {' and of '.join(names)}." if names else ""

    @staticmethod
    def _now() -> dict[str, object]:
        state: Any = np.random.get_state()
        return {"NumPy (np.random)": (state[1].tobytes(), state[2]), "Python (random)": random.getstate()}


def _try_rendering(task: str, kwargs: Mapping[str, Any]) -> str:
    from rlottery.envs.rendering import Stage, without_a_screen

    try:
        with contextlib.ExitStack() as stack:
            stage = Stage(Task(id=task, kwargs=dict(kwargs)), (320, 240))
            stack.callback(stage.close)
            if stage.needs_mujoco:
                stack.enter_context(without_a_screen())
            stage.environment.reset(_SEEDS[0])
            stage.picture()
    except Exception as error:  # drivers and environments may raise anything, and training draws nothing
        return error_text(error)
    return "works"


@contextlib.contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    """Note an error instead of raising it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        notes.append(f"{what}: {error_text(error)}")


def _packages_of(environment: Environment) -> dict[str, str]:
    """The versions of the installed packages that the environment comes from or may use."""
    module = type(environment.unwrapped).__module__.partition(".")[0]
    found = {}
    for name in sorted({*_PACKAGES, *(_packages_with(module) if module not in _PACKAGES else ())}):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _packages_with(module: str) -> Iterator[str]:
    """Installed packages with this top-level module. (`packages_distributions` lists all files first: a second.)"""
    recorded = re.compile(rf"^{re.escape(module)}[/.]", re.MULTILINE)
    for package in distributions():
        named = (package.read_text("top_level.txt") or "").split()
        if module in named or recorded.search(package.read_text("RECORD") or ""):
            yield package.name


def _own_sources() -> dict[str, str]:
    """The imported modules that belong to no installed package, the user's own, with their SHA-256."""
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed = {Path(place).resolve() for place in (*places, *site.getsitepackages(), site.getusersitepackages())}
    installed.add(Path(__file__).resolve().parents[1])
    found = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or not file.endswith(".py"):
            continue
        if not installed & set(Path(file).resolve().parents):
            with contextlib.suppress(OSError):
                found[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return found
