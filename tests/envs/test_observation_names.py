"""Names of observation entries, against the environments: one coordinate of the simulator is moved at a time."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from rlottery import envs
from rlottery.envs import observation_names

GYMNASIUM = (
    *("Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "HumanoidStandup-v5", "InvertedDoublePendulum-v5"),
    *("InvertedPendulum-v5", "MountainCarContinuous-v0", "Pendulum-v1", "Pusher-v5", "Reacher-v5", "Swimmer-v5"),
    "Walker2d-v5",
)
FREE_ROOT = ("Ant-v5", "Humanoid-v5", "HumanoidStandup-v5")
BODY = {"": "lower part", "aux": "upper part", "lwaist": "lower waist"}


@contextmanager
def raw(task: str) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = gymnasium.make(task)
    env.reset(seed=0)
    yield env.unwrapped
    env.close()


def names_of(task: str) -> tuple[str, ...]:
    names = observation_names(task)
    assert names is not None
    return names


def changed(env: Any, task: str, *, position: str | None = None, velocity: str | None = None) -> set[str]:
    """Names of the entries that change when one joint's coordinate or its velocity does."""
    model, data = env.model, env.data
    before = env._get_obs()
    qpos, qvel = data.qpos.copy(), data.qvel.copy()
    if position is not None:
        qpos[model.jnt_qposadr[model.joint(position).id]] += 0.1
    if velocity is not None:
        qvel[model.jnt_dofadr[model.joint(velocity).id]] += 0.1
    env.set_state(qpos, qvel)
    entries = np.flatnonzero(~np.isclose(env._get_obs(), before, atol=1e-12))
    return {names_of(task)[entry] for entry in entries}


@pytest.mark.parametrize("task", [*GYMNASIUM, "drawer-close-v3", "push-v3"])
def test_there_is_a_name_for_every_entry_and_no_two_are_alike(task):
    env = envs.make(task)
    names = names_of(task)
    env.close()
    assert len(names) == env.observation_size == len(set(names))


@pytest.mark.parametrize("task", ["CartPole-v1", "HalfCheetah-v4", "some:Thing-v0", "Drawer-v3"])
def test_of_other_tasks_no_names_are_known(task):
    assert observation_names(task) is None


@pytest.mark.parametrize(
    ("task", "joint", "angle"),
    [
        ("HalfCheetah-v5", "bfoot", "back foot"),
        ("HalfCheetah-v5", "fthigh", "front thigh"),
        ("HalfCheetah-v5", "rooty", "torso pitch"),
        ("Hopper-v5", "leg_joint", "leg"),
        ("Walker2d-v5", "thigh_left_joint", "left thigh"),
        ("Walker2d-v5", "foot_joint", "foot"),
        ("InvertedPendulum-v5", "hinge", "pole angle"),
        ("Swimmer-v5", "motor1_rot", "first rotor"),
    ],
)
def test_a_joint_moves_the_entry_that_has_its_name(task, joint, angle):
    rate = {"pole angle": "pole rate"}.get(angle, f"{angle} rate")
    with raw(task) as env:
        assert changed(env, task, position=joint) == {angle}
        assert changed(env, task, velocity=joint) == {rate}


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5"])
def test_planar_walkers_see_their_height_and_not_their_place(task):
    with raw(task) as env:
        assert changed(env, task, position="rootx") == set()
        assert changed(env, task, position="rootz") == {"torso z"}
        assert changed(env, task, velocity="rootx") == {"torso x velocity"}
        assert changed(env, task, velocity="rootz") == {"torso z velocity"}


def test_poles_and_arms_are_seen_as_sines_and_cosines():
    with raw("InvertedDoublePendulum-v5") as env:
        for joint, pole in (("hinge", "lower pole"), ("hinge2", "upper pole")):
            assert changed(env, "InvertedDoublePendulum-v5", position=joint) == {f"sin {pole}", f"cos {pole}"}
        assert changed(env, "InvertedDoublePendulum-v5", velocity="slider") == {"cart velocity"}
        # Beyond the rail's end the cart is held.
        assert "cart constraint force" in changed_beyond_the_rail(env)
    with raw("Reacher-v5") as env:
        moved = changed(env, "Reacher-v5", position="joint1")
        assert {"sin second arm", "cos second arm"} <= moved
        assert moved <= {
            "sin second arm", "cos second arm", "fingertip minus target x", "fingertip minus target y"
        }  # fmt: skip
        assert changed(env, "Reacher-v5", position="target_y") == {"target y", "fingertip minus target y"}
        tip, target = env.get_body_com("fingertip"), env.get_body_com("target")
        entry = names_of("Reacher-v5").index("fingertip minus target x")
        assert env._get_obs()[entry] == pytest.approx(tip[0] - target[0])
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    env.state = np.array([2.0, 3.0])
    seen = dict(zip(names_of("Pendulum-v1"), env._get_obs(), strict=True))
    assert seen == pytest.approx({"cos angle": np.cos(2), "sin angle": np.sin(2), "angular velocity": 3})


def changed_beyond_the_rail(env: Any) -> set[str]:
    before = env._get_obs()
    env.set_state(np.array([1.2, 0, 0]), np.zeros(3))
    entries = np.flatnonzero(env._get_obs() != before)
    return {names_of("InvertedDoublePendulum-v5")[entry] for entry in entries}


def test_pusher_sees_where_things_are():
    with raw("Pusher-v5") as env:
        assert changed(env, "Pusher-v5", position="obj_slidex") == {"object x"}
        assert changed(env, "Pusher-v5", position="goal_slidey") == {"goal y"}
        assert changed(env, "Pusher-v5", velocity="r_elbow_flex_joint") == {"elbow flex rate"}
        seen = dict(zip(names_of("Pusher-v5"), env._get_obs(), strict=True))
        assert seen["fingertip z"] == env.get_body_com("tips_arm")[2]


@pytest.mark.parametrize("task", FREE_ROOT)
def test_joints_of_many_legged_bodies_have_the_models_order(task):
    """Angles and rates against the simulator's, joint by joint; the model's joint names against ours."""
    legs = {"1": "front left", "2": "front right", "3": "back left", "4": "back right"}
    with raw(task) as env:
        seen = dict(zip(names_of(task), env._get_obs(), strict=True))
        for index in range(1, env.model.njnt):
            joint = env.model.joint(index).name
            if task == "Ant-v5":
                kind, _, number = joint.partition("_")
                name = f"{legs[number]} {kind}"
            else:
                name = re.sub(r"(\d)", r" \1", joint.replace("_", " "))
            assert seen[name] == env.data.qpos[env.model.jnt_qposadr[index]]
            assert seen[f"{name} rate"] == env.data.qvel[env.model.jnt_dofadr[index]]
        assert seen["torso z"] == env.data.qpos[2]
        assert [seen[f"torso quaternion {part}"] for part in "wxyz"] == list(env.data.qpos[3:7])
        assert [seen[f"torso {axis} velocity"] for axis in "xyz"] == list(env.data.qvel[:3])


def body_names(task: str, model: Any) -> list[str]:
    """The model's bodies but the world, in our words."""
    if task != "Ant-v5":
        return [BODY.get(n, n.replace("_", " ")) for n in (model.body(i).name for i in range(1, model.nbody))]
    found, leg = ["torso"], ""
    for index in range(2, model.nbody):
        name = model.body(index).name
        if name.endswith("_leg"):
            # The third leg's body is named "back_leg" alone, and the fourth's words are turned about.
            leg = {"back_leg": "back left", "right_back_leg": "back right"}.get(name, name[:-4].replace("_", " "))
        found.append(f"{leg} {'leg' if name.endswith('_leg') else BODY[name[:3]]}")
    return found


@pytest.mark.parametrize("task", FREE_ROOT)
def test_a_force_on_a_body_is_seen_in_that_bodys_entries_torque_first(task):
    with raw(task) as env:
        env.reset(seed=0)
        env.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
        for index, body in enumerate(body_names(task, env.model), start=1):
            env.data.xfrc_applied[:] = 0
            env.data.xfrc_applied[index, 3] = 0.25  # a torque about x: force comes first here
            env.data.xfrc_applied[index, 2] = 0.5  # a force along z, which has a moment about x and y, none about z
            mujoco.mj_forward(env.model, env.data)
            mujoco.mj_rnePostConstraint(env.model, env.data)
            seen = dict(zip(names_of(task), env._get_obs(), strict=True))
            assert seen[f"{body} force z"] == pytest.approx(0.5)
            assert seen[f"{body} torque z"] == seen[f"{body} force x"] == 0
            lever = env.data.xipos[index] - env.data.subtree_com[1]
            assert seen[f"{body} torque x"] == pytest.approx(0.25 + 0.5 * lever[1])


@pytest.mark.parametrize("task", ["Humanoid-v5", "HumanoidStandup-v5"])
def test_what_a_humanoid_sees_of_its_bodies(task):
    with raw(task) as env:
        env.set_state(env.data.qpos + 0.05, env.data.qvel + 0.3)
        mujoco.mj_rnePostConstraint(env.model, env.data)
        data, model = env.data, env.model
        data.qfrc_actuator[6:] = np.arange(17)
        seen = dict(zip(names_of(task), env._get_obs(), strict=True))
        for index, body in enumerate(body_names(task, model), start=1):
            # The tensor about the tree's centre of mass, by the parallel axis theorem.
            turn, offset = data.ximat[index].reshape(3, 3), data.xipos[index] - data.subtree_com[1]
            mass = model.body_mass[index]
            tensor = turn @ np.diag(model.body_inertia[index]) @ turn.T
            tensor += mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))
            for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
                assert seen[f"{body} inertia {'xyz'[i]}{'xyz'[j]}"] == pytest.approx(tensor[i, j], abs=1e-9)
            assert seen[f"{body} mass"] == pytest.approx(mass)
            assert [seen[f"{body} mass offset {a}"] for a in "xyz"] == pytest.approx(list(mass * offset), abs=1e-9)
            speed = np.zeros(6)
            mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, index, speed, 0)  # turning first
            assert [seen[f"{body} turning {axis}"] for axis in "xyz"] == pytest.approx(list(speed[:3]), abs=1e-9)
        for joint in range(17):
            name = re.sub(r"(\d)", r" \1", model.joint(joint + 1).name.replace("_", " "))
            assert seen[f"{name} motor"] == joint


@pytest.mark.parametrize("task", ["drawer-close-v3", "push-v3"])
def test_metaworlds_entries(task):
    env = envs.make(task)
    first = env.reset(3)
    step = env.step(np.array([1, 0, 0, 1], np.float32))
    inner: Any = env._env.unwrapped  # the simulator's own values
    seen = dict(zip(names_of(task), step.observation, strict=True))
    before = dict(zip(names_of(task), first, strict=True))

    def of(names):
        return pytest.approx([seen[name] for name in names], abs=1e-6)

    xyz = "xyz"
    assert of([f"hand {a}" for a in xyz]) == list(inner.get_endeff_pos())
    assert of([f"goal {a}" for a in xyz]) == list(inner._target_pos)
    assert of([f"object 1 {a}" for a in xyz]) == list(inner._get_pos_objects())
    assert of([f"object 1 quaternion {i}" for i in (1, 2, 3, 4)]) == list(inner._get_quat_objects())
    assert seen["hand x"] > before["hand x"]
    for name in ("hand x", "hand z", "gripper opening", "object 1 y"):
        assert seen[f"{name} before"] == before[name]
    assert all(seen[name] == 0 for name in seen if name.startswith("object 2"))  # these tasks have one object
    claws = inner.data.body("rightclaw").xpos - inner.data.body("leftclaw").xpos
    assert seen["gripper opening"] == pytest.approx(min(np.linalg.norm(claws) / 0.1, 1), abs=1e-6)
    env.close()
