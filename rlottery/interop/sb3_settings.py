"""The settings of an agent of Stable-Baselines3 or SBX, as sections of a config."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent
from rlottery.interop.inert_objects import Record
from rlottery.interop.sb3_archive import Settings, spaces_in
from rlottery.safety.pickle_machine import Name


def learning_rates(settings: Settings, notes: list[str], groups: Sequence[str] = ()) -> dict[str, Any]:
    """``{"learning_rate": rate}``, or that of each group by its name; an empty dict if it is a schedule."""
    rate = settings.number("learning_rate")
    if rate is None:
        hint = "" if settings.may_execute else " If it is constant, its library can say so: --library-python PYTHON."
        notes.append(f"Its learning rate is a schedule, which is not imported.{hint}")
        return {}
    return {f"{group}_learning_rate": rate for group in groups} or {"learning_rate": rate}


def off_policy_training(settings: Settings, notes: list[str]) -> dict[str, Any]:
    """The settings of `training` for an agent that learns from replay."""
    number, steps = settings.get("n_envs", 1), settings.get("num_timesteps")
    frequency = settings.readable("train_freq")
    training: dict[str, Any] = {"env_steps": steps, "warmup_steps": settings.get("learning_starts")}
    unit = frequency.arguments[1] if isinstance(frequency, Record) and len(frequency.arguments) == 2 else None
    every, updates = (frequency.arguments[0] if unit is not None else frequency), settings.get("gradient_steps")
    if isinstance(unit, Record) and unit.arguments != ("step",):
        notes.append("It was updated at the ends of episodes (train_freq), and is updated after each step here.")
    elif type(every) is int and type(updates) is int and type(number) is int:
        own = every * number
        updates = own if updates == -1 else updates
        training["updates_per_step"] = updates if own == 1 else {"every": own, "updates": updates}
    training["environments"] = number
    size = settings.get("buffer_size")
    if type(size) is int and type(steps) is int and type(number) is int and size < steps:
        training["replay_capacity"] = max(size // number, 1) * number  # rows of as many environments
    return training


def action_noise(settings: Settings, notes: list[str]) -> dict[str, float]:
    """The standard deviation of the noise on actions that collect data."""
    if settings.raw("action_noise") is None:
        return {"exploration_noise": 0.0}
    noise = settings.readable("action_noise")
    sigma = (
        noise.state.get("_sigma") if isinstance(noise, Record) and noise.name.endswith("NormalActionNoise") else None
    )
    if isinstance(sigma, np.ndarray) and sigma.size and np.isfinite(sigma).all() and np.ptp(sigma) == 0:
        return {"exploration_noise": float(sigma.reshape(-1)[0])}
    notes.append("Its exploration noise is of another kind than here, and is not imported.")
    return {}


def dqn_settings(settings: Settings, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `dqn` and of `training`."""
    own: dict[str, Any] = {
        **learning_rates(settings, notes),
        "discount": settings.get("gamma"),
        "batch_size": settings.get("batch_size"),
        "exploration_start": settings.get("exploration_initial_eps"),
        "exploration_end": settings.get("exploration_final_eps"),
        "max_gradient_norm": settings.get("max_grad_norm"),
    }
    training = off_policy_training(settings, notes)
    fraction, total = settings.get("exploration_fraction"), settings.get("_total_timesteps")
    if type(fraction) in (int, float) and type(total) is int:
        own["exploration_steps"] = max(1, round(fraction * total))
    per_step = training.get("updates_per_step")
    interval = settings.get("target_update_interval")
    if settings.get("tau", 1.0) != 1.0:
        notes.append(
            "Its target moved in small steps (tau); here it is a copy from time to time (dqn.target_interval)."
        )
    elif type(interval) is int and per_step is not None:
        every, updates = (per_step["every"], per_step["updates"]) if isinstance(per_step, dict) else (1, per_step)
        most = (training["env_steps"] - training["warmup_steps"]) * updates // every
        own["target_interval"] = max(1, min(interval * updates // every, most))
    return own, training


def ppo_settings(settings: Settings, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `ppo` and of `training`."""
    number, steps = settings.get("n_envs", 1), settings.get("n_steps")
    own: dict[str, Any] = {
        **learning_rates(settings, notes),
        "discount": settings.get("gamma"),
        "gae_lambda": settings.get("gae_lambda"),
        "clip": settings.number("clip_range"),
        "rollout_steps": steps * number if type(steps) is int and type(number) is int else None,
        "epochs": settings.get("n_epochs"),
        "batch_size": settings.get("batch_size"),
        "entropy_weight": settings.get("ent_coef"),
        "value_weight": settings.get("vf_coef"),
        "max_gradient_norm": settings.get("max_grad_norm"),
        "normalize_advantages": settings.get("normalize_advantage"),
    }
    for name, what in (("clip_range_vf", "clipped its values"), ("target_kl", "stopped epochs at a KL divergence")):
        if settings.get(name) is not None:
            notes.append(f"Its training {what} ({name}), which training here doesn't.")
    training = {"env_steps": settings.get("num_timesteps"), "environments": number}
    return own, training


def update_count(updates: object) -> np.ndarray:
    return np.array(updates if type(updates) is int and 0 <= updates < 2**31 else 0, np.int32)


def agent_of(
    settings: Settings, algorithm: str, library: str, arrays: Mapping[str, np.ndarray], own: Mapping[str, Any],
    training: Mapping[str, Any], notes: Sequence[str],
) -> ForeignAgent:  # fmt: skip
    steps, seed = settings.get("num_timesteps"), settings.get("seed")
    for name, value in (*own.items(), *training.items()):
        if isinstance(value, Name | Record | np.ndarray):
            raise ForeignFileError(f"its setting for {name} is an object that can't be read")
    return ForeignAgent(
        algorithm,
        library,
        arrays,
        **spaces_in(settings),
        settings={algorithm: own, "training": training},
        env_steps=steps if type(steps) is int and steps >= 0 else None,
        seed=seed if type(seed) is int and seed >= 0 else None,
        notes=tuple(notes),
    )
