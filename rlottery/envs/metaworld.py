"""Meta-World v3: fifty tasks of a robot arm, by their own names (``drawer-close-v3``)."""

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np

from rlottery.envs.family import Camera, Names, RawEnvironment
from rlottery.errors import TaskError, install_extra

_SUFFIX = "-goal-observable"
"""Ends the library's names for tasks whose observations include the goal."""

_NAMESPACE = "Meta-World/"
"""Begins the names of the collections of tasks that the library registers with Gymnasium."""

_CAMERA = {"azimuth": 160.0, "elevation": -25.0, "distance": 1.4, "lookat": np.array([0.0, 0.6, 0.15])}
"""Above the table, from the right: the arm is on the left and the object in the middle. Of Meta-World's own cameras,
those in the corners are upside down, and the others are too close or look from above."""

# A task fills the slots that it has objects for and leaves the others at zero. The order of a quaternion's four numbers
# differs between tasks, so they only have numbers. Source: `SawyerXYZEnv._get_obs` of Meta-World 3.
_SLOT = ("x", "y", "z", "quaternion 1", "quaternion 2", "quaternion 3", "quaternion 4")
_FRAME = (
    *("hand x", "hand y", "hand z", "gripper opening"),
    *(f"object {number} {entry}" for number in (1, 2) for entry in _SLOT),
)
_ENTRIES = (*_FRAME, *(f"{name} before" for name in _FRAME), "goal x", "goal y", "goal z")


class MetaWorld:
    """The tasks of Meta-World v3 (a `Family`)."""

    def includes(self, task: str) -> bool:
        is_name = task.endswith("-v3") and task == task.lower() and not set(":/") & set(task)
        return is_name or _is_collection(task)

    def task_names(self) -> Iterable[str]:
        return [name.removesuffix(_SUFFIX) for name in _classes()]

    def make(self, task: str, kwargs: Mapping[str, Any]) -> RawEnvironment:
        if _is_collection(task):
            raise TaskError(
                f"{task} chooses among tasks and goals by itself, and ignores the seed of reset. Write the Meta-World "
                "task by its own name, such as reach-v3."
            )
        classes = _classes()
        if f"{task}{_SUFFIX}" not in classes:
            raise gymnasium.error.UnregisteredEnv
        if unknown := sorted(kwargs.keys() - {"render_mode"}):
            raise TaskError(f"Meta-World tasks take no argument {unknown[0]!r}; they take: render_mode.")
        # With any seed but None, the constructor leaves NumPy's global generator alone.
        env: Any = classes[f"{task}{_SUFFIX}"](seed=1, **kwargs)
        # Draw a new goal at each reset, from the generator that `reset` seeds.
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        made: RawEnvironment = env
        return made

    def reset(self, env: RawEnvironment, seed: int) -> Any:
        # Meta-World ignores reset(seed=...): goals come from a generator with a method of its own to seed it.
        raw: Any = env.unwrapped
        raw.seed(seed % 2**63)
        return env.reset(seed=seed % 2**31)

    def observation_names(self, task: str) -> Names | None:
        return _ENTRIES

    def camera(self, task: str) -> Camera | None:
        return _CAMERA


def _is_collection(task: str) -> bool:
    return task.rpartition(":")[2].startswith(_NAMESPACE)


def _classes() -> Mapping[str, Any]:
    try:
        module = importlib.import_module("metaworld.env_dict")
    except ImportError as error:
        raise TaskError(
            f"Meta-World's tasks need a package that can't be imported: {error}. Install the extra: "
            f"{install_extra('metaworld')}"
        ) from None
    classes: Mapping[str, Any] = module.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    return classes
