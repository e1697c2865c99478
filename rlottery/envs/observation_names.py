"""What the entries of a task's observations are, where that is known.

Sources: `SawyerXYZEnv._get_obs` of Meta-World 3; the tables in the documentation of Gymnasium's environments, and
where these are short or wrong the environments' `_get_obs` and MuJoCo's own documentation of `mjData`.
"""

from collections.abc import Iterable
from itertools import product

from rlottery.envs import is_metaworld

Names = tuple[str, ...]


def observation_names(task_id: str) -> Names | None:
    """A name for each entry of the observations of a task, made without arguments; None where they are not known.

    Known are all of Meta-World v3, and of Gymnasium version 5 of every MuJoCo task, Pendulum-v1 and
    MountainCarContinuous-v0.
    """
    return _METAWORLD if is_metaworld(task_id) else _GYMNASIUM.get(task_id)


def _joined(stems: Iterable[str], parts: Iterable[str]) -> Names:
    return tuple(f"{stem} {part}" for stem, part in product(stems, parts))


def _rates(angles: Iterable[str]) -> Names:
    return tuple(f"{angle} rate" for angle in angles)


# A task fills the slots that it has objects for, and leaves the others zero. The order of a quaternion's four numbers
# differs from task to task, so that they have numbers for names.
_SLOT = ("x", "y", "z", "quaternion 1", "quaternion 2", "quaternion 3", "quaternion 4")
_FRAME = ("hand x", "hand y", "hand z", "gripper opening", *_joined(("object 1", "object 2"), _SLOT))
_METAWORLD = (*_FRAME, *(f"{name} before" for name in _FRAME), "goal x", "goal y", "goal z")

# A free joint's quaternion, and its velocity.
_TORSO = ("torso z", *(f"torso quaternion {part}" for part in "wxyz"))
_TORSO_MOVES = (*(f"torso {axis} velocity" for axis in "xyz"), *(f"torso {axis} turning" for axis in "xyz"))
# MuJoCo's spatial vectors have their rotation first; Gymnasium's pages say the reverse.
_CONTACT = ("torque x", "torque y", "torque z", "force x", "force y", "force z")
_MOTION = ("turning x", "turning y", "turning z", "velocity x", "velocity y", "velocity z")
# Of a body about its tree's centre of mass: the inertia tensor, mass times offset, mass.
_INERTIA = (
    *("inertia xx", "inertia yy", "inertia zz", "inertia xy", "inertia xz", "inertia yz"),
    *("mass offset x", "mass offset y", "mass offset z", "mass"),
)

_HALF_CHEETAH = (
    *("torso pitch", "back thigh", "back shin", "back foot"),
    *("front thigh", "front shin", "front foot"),
)
_HOPPER = ("torso pitch", "thigh", "leg", "foot")
_WALKER = (*_HOPPER, "left thigh", "left leg", "left foot")
_PUSHER = (
    *("shoulder pan", "shoulder lift", "upper arm roll", "elbow flex"),
    *("forearm roll", "wrist flex", "wrist roll"),
)
_SWIMMER = ("front tip angle", "first rotor", "second rotor")

_LEGS = ("front left", "front right", "back left", "back right")
_ANT = tuple(f"{leg} {joint}" for leg, joint in product(_LEGS, ("hip", "ankle")))
_ANT_BODIES = ("torso", *(f"{leg} {part}" for leg, part in product(_LEGS, ("leg", "upper part", "lower part"))))

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

_GYMNASIUM: dict[str, Names] = {
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
