"""Gymnasium's tasks, by their ids, and every environment that a module registers with Gymnasium (``module:Id``).

The names of observation entries come from the tables in Gymnasium's documentation. Where these are short or wrong, they
come from the environments' `_get_obs` and MuJoCo's documentation of `mjData`.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import gymnasium
import numpy as np

from rlottery.envs.family import Camera, Names, RawEnvironment

_CAMERAS = {
    "InvertedDoublePendulum-v5": {
        "azimuth": 90.0,
        "elevation": -30.0,
        "distance": 3.2,
        "lookat": np.array([0.0, 0.0, 0.4]),
    }
}
"""For tasks without a camera of their own, which would be shown from far away."""


class GymnasiumTasks:
    """Everything that `gymnasium.make` makes (a `Family`).

    Observation entries have names in version 5 of every MuJoCo task, Pendulum-v1 and MountainCarContinuous-v0.
    """

    def includes(self, task: str) -> bool:
        return True

    def task_names(self) -> Iterable[str]:
        # Meta-World registers collections of its tasks, which are refused.
        return [name for name in gymnasium.registry if not name.startswith("Meta-World/")]

    def make(self, task: str, kwargs: Mapping[str, Any]) -> RawEnvironment:
        # Gymnasium's own checker warns where `rlottery.envs.contract` refuses, and only at the first steps.
        return gymnasium.make(task, **{"disable_env_checker": True, **kwargs})

    def reset(self, env: RawEnvironment, seed: int) -> Any:
        return env.reset(seed=seed % 2**31)

    def observation_names(self, task: str) -> Names | None:
        return _NAMES.get(task)

    def camera(self, task: str) -> Camera | None:
        return _CAMERAS.get(task)


def _joined(stems: Iterable[str], parts: Iterable[str]) -> Names:
    return tuple(f"{stem} {part}" for stem, part in product(stems, parts))


def _rates(angles: Iterable[str]) -> Names:
    return tuple(f"{angle} rate" for angle in angles)


# A free joint's quaternion, and its velocity.
_TORSO = ("torso z", *(f"torso quaternion {part}" for part in "wxyz"))
_TORSO_MOVES = (*(f"torso {axis} velocity" for axis in "xyz"), *(f"torso {axis} turning" for axis in "xyz"))
# MuJoCo's spatial vectors start with the rotation; Gymnasium's pages say the opposite.
_CONTACT = ("torque x", "torque y", "torque z", "force x", "force y", "force z")
_MOTION = ("turning x", "turning y", "turning z", "velocity x", "velocity y", "velocity z")
# A body relative to the centre of mass of its tree: the inertia tensor, mass times offset, mass.
_INERTIA = (
    *("inertia xx", "inertia yy", "inertia zz", "inertia xy", "inertia xz", "inertia yz"),
    *("mass offset x", "mass offset y", "mass offset z", "mass"),
)

_HALF_CHEETAH = (*("torso pitch", "back thigh", "back shin", "back foot"), *("front thigh", "front shin", "front foot"))
_HOPPER = ("torso pitch", "thigh", "leg", "foot")
_WALKER = (*_HOPPER, "left thigh", "left leg", "left foot")
_PUSHER = (
    *("shoulder pan", "shoulder lift", "upper arm roll", "elbow flex"),
    *("forearm roll", "wrist flex", "wrist roll"),
)
_SWIMMER = ("front tip angle", "first rotor", "second rotor")

_LEGS = ("front left", "front right", "back left", "back right")
_ANT = _joined(_LEGS, ("hip", "ankle"))
_ANT_BODIES = ("torso", *_joined(_LEGS, ("leg", "upper part", "lower part")))

_HUMANOID = (
    *("abdomen z", "abdomen y", "abdomen x"),
    *("right hip x", "right hip z", "right hip y", "right knee"),
    *("left hip x", "left hip z", "left hip y", "left knee"),
    *("right shoulder 1", "right shoulder 2", "right elbow", "left shoulder 1", "left shoulder 2", "left elbow"),
)
_HUMANOID_BODIES = (
    *("torso", "lower waist", "pelvis"),
    *("right thigh", "right shin", "right foot", "left thigh", "left shin", "left foot"),
    *("right upper arm", "right lower arm", "left upper arm", "left lower arm"),
)
_HUMANOID_ENTRIES = (
    *(*_TORSO, *_HUMANOID, *_TORSO_MOVES, *_rates(_HUMANOID)),
    *(*_joined(_HUMANOID_BODIES, _INERTIA), *_joined(_HUMANOID_BODIES, _MOTION)),
    *(*(f"{joint} motor" for joint in _HUMANOID), *_joined(_HUMANOID_BODIES, _CONTACT)),
)

_NAMES: dict[str, Names] = {
    "Ant-v5": (*_TORSO, *_ANT, *_TORSO_MOVES, *_rates(_ANT), *_joined(_ANT_BODIES, _CONTACT)),
    "HalfCheetah-v5": ("torso z", *_HALF_CHEETAH, "torso x velocity", "torso z velocity", *_rates(_HALF_CHEETAH)),
    "Hopper-v5": ("torso z", *_HOPPER, "torso x velocity", "torso z velocity", *_rates(_HOPPER)),
    "Humanoid-v5": _HUMANOID_ENTRIES,
    "HumanoidStandup-v5": _HUMANOID_ENTRIES,
    "InvertedDoublePendulum-v5": (
        *("cart x", "sin lower pole", "sin upper pole", "cos lower pole", "cos upper pole"),
        *("cart velocity", "lower pole rate", "upper pole rate", "cart constraint force"),
    ),
    "InvertedPendulum-v5": ("cart x", "pole angle", "cart velocity", "pole rate"),
    "MountainCarContinuous-v0": ("position", "velocity"),
    "Pendulum-v1": ("cos angle", "sin angle", "angular velocity"),
    "Pusher-v5": (*_PUSHER, *_rates(_PUSHER), *_joined(("fingertip", "object", "goal"), "xyz")),
    "Reacher-v5": (
        *("cos first arm", "cos second arm", "sin first arm", "sin second arm", "target x", "target y"),
        *("first arm rate", "second arm rate", "fingertip minus target x", "fingertip minus target y"),
    ),
    "Swimmer-v5": (*_SWIMMER, "front tip x velocity", "front tip y velocity", *_rates(_SWIMMER)),
    "Walker2d-v5": ("torso z", *_WALKER, "torso x velocity", "torso z velocity", *_rates(_WALKER)),
}
