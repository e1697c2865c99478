"""Minari datasets (https://minari.farama.org) as replay: read for an imported agent, and written from a run's replay.

A dataset belongs to Minari, which keeps it in a folder of its own (MINARI_DATASETS_PATH) and finds it by its name. It
has the task's own actions; rlottery's transitions have actions in [-1, 1], or one-hot vectors.
"""

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rlottery.config import Task
from rlottery.envs.spaces import ActionBounds, DiscreteActions
from rlottery.errors import StudyError, install_extra, typed_text
from rlottery.export.finished_run import Spaces, read_actor, read_finished, spaces_of
from rlottery.export.policy import in_bounds
from rlottery.storage.manifests import check_files
from rlottery.storage.paths import REPLAY_FILES, replay_is_saved
from rlottery.storage.transitions import Transitions, one_hot
from rlottery.training.replay_buffer import load_replay


def read_dataset(name: str, task: str, observation_size: int, actions: ActionBounds | DiscreteActions) -> Transitions:
    """All transitions of a local dataset, in order: its observations and actions must be those of the task.

    Args:
        name: the dataset's id, such as ``mujoco/pendulum/expert-v0``.
        task: the task's id, for messages.
        observation_size: entries of its observations.
        actions: its actions.

    Returns:
        The transitions, with `ends`. Actions of a Box are scaled to [-1, 1] by the task's bounds.

    Raises:
        StudyError: Minari isn't installed, has no such dataset here or can't read it, or it is of another space.
    """
    dataset = open_dataset(name)
    _check_spaces(name, task, dataset, observation_size, actions)
    try:
        parts = [_episode(episode, actions) for episode in dataset.iterate_episodes()]
    except Exception as error:  # as above
        raise StudyError(f"Minari can't read the episodes of {name}: {typed_text(error)}") from None
    if not any(len(part.rewards) for part in parts):
        raise StudyError(f"The dataset {name} has no transitions.")
    whole = Transitions(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))
    for field, values in whole.fields.items():
        if not np.isfinite(values).all():
            raise StudyError(f"The dataset {name} has {field} that are not finite.")
    return whole


def open_dataset(name: str) -> Any:
    """A local dataset. Raises StudyError: Minari isn't installed, has no such dataset here or can't read it."""
    minari = _minari()
    try:
        return minari.load_dataset(name)
    except FileNotFoundError:
        raise StudyError(f"Minari has no dataset {name} on this machine. To get it: minari download {name}") from None
    except Exception as error:  # whatever a damaged dataset makes h5py, json or Minari raise
        raise StudyError(f"Minari can't read the dataset {name}: {typed_text(error)}") from None


@dataclass(frozen=True)
class WrittenDataset:
    """A dataset that was written, where Minari keeps it, and what it contains."""

    name: str
    folder: Path
    transitions: int
    episodes: int

    def __str__(self) -> str:
        return (
            f"Wrote the Minari dataset {self.name} to {self.folder}: {self.transitions:,} transitions in "
            f"{self.episodes:,} episodes.\n"
            f"To load it: minari.load_dataset({self.name!r})"
        )


def write_dataset(folder: Path, name: str, *, trust: bool = False) -> WrittenDataset:
    """Write the replay buffer of a finished dense run as a Minari dataset.

    Episodes begin and end where the run's did. One that the buffer cuts off counts as truncated there.

    Args:
        folder: the run's folder, data/runs/TASK/seed_N/dense.
        name: the id of the new dataset, such as ``rlottery/pendulum/sac-v0``.
        trust: as for `rlottery.load_agent`.

    Raises:
        StudyError: Minari isn't installed, the name is no id or exists already, the run isn't finished or has no replay
            buffer, or its files are damaged.
    """
    run = read_finished(folder)
    minari, folder_of = _minari(), import_module("minari.storage").get_dataset_path
    try:
        import_module("minari.dataset.minari_dataset").parse_dataset_id(name)
    except (ValueError, TypeError):  # the latter if there is no version
        raise StudyError(
            f"{name!r} is no id of a Minari dataset. It has a namespace of two letters or more, a name and a version: "
            "rlottery/pendulum/sac-v0"
        ) from None
    if folder_of(name).exists():
        raise StudyError(f"Minari has a dataset {name} already, and it was not changed. Give another id or version.")
    if not replay_is_saved(run.files, run.manifest["files"]):
        raise StudyError(
            f"Replay buffer not found: {run.files.replay}. Only dense runs have one, unless keep_replay is false."
        )
    recorded = run.manifest["files"]
    check_files(run.files.folder, recorded, *(name for name in REPLAY_FILES if name in recorded))
    spaces = spaces_of(run, read_actor(run)[0], trust=trust)
    training = run.manifest["fingerprint"]["training"]
    episodes = episodes_in(load_replay(run.files.replay), training["env_steps"], training.get("environments", 1))
    buffers = [_buffer(episode, spaces) for episode in episodes]
    observation_space, action_space = _gymnasium_spaces(spaces)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it has no address of an author, and the like
            minari.create_dataset_from_buffers(
                name,
                buffers,
                env=_own_environment(run.task),
                observation_space=observation_space,
                action_space=action_space,
                algorithm_name=run.algorithm.name,
                author="rlottery",
                description=f"The replay buffer of rlottery's {run.arm} agent of seed {run.seed} on {run.task.id}, in "
                f"order. SHA-256 of the agent: {run.digest}",
            )
    except BaseException as error:
        shutil.rmtree(folder_of(name), ignore_errors=True)
        if isinstance(error, OSError):
            raise StudyError(f"The dataset {name} can't be written to {folder_of(name)}: {error.strerror}.") from None
        raise
    transitions = sum(len(buffer.rewards) for buffer in buffers)
    return WrittenDataset(name, folder_of(name), transitions, len(buffers))


def episodes_in(stored: Transitions, steps: int, environments: int) -> Iterator[Transitions]:
    """The episodes in a replay buffer, or what is left of them, those of one environment after those of another.

    Args:
        stored: the buffer's rows, which may have wrapped around.
        steps: environment steps of the run, in all environments.
        environments: how many took their steps in turns.
    """
    size = len(stored.rewards)
    first = -(-(steps - size) // environments) * environments
    for environment in range(environments):
        rows = np.arange(first + environment, steps, environments) % size
        of_one = Transitions(**{name: np.asarray(field)[rows] for name, field in stored.fields.items()})
        over = of_one.terminations.astype(np.bool_)
        over[:-1] |= (of_one.next_observations[:-1] != of_one.observations[1:]).any(axis=1)
        if of_one.ends is not None:
            over |= of_one.ends.astype(np.bool_)
        bounds = [0, *(np.flatnonzero(over[:-1]) + 1).tolist(), len(rows)]
        for start, stop in pairwise(bounds):
            yield Transitions(**{name: field[start:stop] for name, field in of_one.fields.items()})


def _minari() -> Any:
    try:
        return import_module("minari")
    except ImportError as error:
        raise StudyError(f"Minari's datasets need Minari ({error}): {install_extra('minari')}") from None


def _check_spaces(
    name: str, task: str, dataset: Any, observation_size: int, actions: ActionBounds | DiscreteActions
) -> None:
    """Raise StudyError if a dataset's spaces aren't the task's."""
    seen, chosen = dataset.observation_space, dataset.action_space
    if not isinstance(seen, gymnasium.spaces.Box) or seen.shape != (observation_size,):
        raise StudyError(
            f"The dataset {name} has observations of another kind than {task}: {seen}, but the task's are flat vectors "
            f"of {observation_size} entries."
        )
    if isinstance(actions, DiscreteActions):
        fits = isinstance(chosen, gymnasium.spaces.Discrete) and (chosen.n, chosen.start) == actions[:2]
        wanted = f"{actions.size} discrete actions from {actions.first} on"
    else:
        fits = isinstance(chosen, gymnasium.spaces.Box) and chosen.shape == actions.low.shape
        fits = fits and np.allclose(chosen.low, actions.low) and np.allclose(chosen.high, actions.high)
        wanted = f"vectors between {actions.low.tolist()} and {actions.high.tolist()}"
    if not fits:
        raise StudyError(f"The dataset {name} has other actions than {task}: {chosen}, but the task's are {wanted}.")


def _episode(episode: Any, actions: ActionBounds | DiscreteActions) -> Transitions:
    """One episode of a dataset as transitions."""
    observations = np.asarray(episode.observations, np.float32)
    terminations = np.asarray(episode.terminations, np.float32)
    ends = np.zeros_like(terminations)
    ends[-1:] = 1.0  # a dataset may cut an episode off
    if isinstance(actions, DiscreteActions):
        chosen = one_hot(np.asarray(episode.actions, np.int64) - actions.first, actions.size)
    else:
        shares = (np.asarray(episode.actions, np.float32) - actions.low) / actions.width
        chosen = (2.0 * shares - 1.0).astype(np.float32)
    rewards = np.asarray(episode.rewards, np.float32)
    return Transitions(observations[:-1], chosen, rewards, observations[1:], terminations, ends)


def _buffer(episode: Transitions, spaces: Spaces) -> Any:
    """An episode as Minari takes it, with the task's own actions."""
    terminations = episode.terminations.astype(np.bool_)
    truncations = np.zeros_like(terminations)
    truncations[-1] = not terminations[-1]
    if spaces.first_action is not None:
        actions = spaces.first_action + np.argmax(episode.actions, axis=1)
    else:
        actions = in_bounds(np.clip(episode.actions, -1.0, 1.0), spaces.action_low, spaces.action_high)
    return import_module("minari.data_collector.episode_buffer").EpisodeBuffer(
        observations=np.concatenate([episode.observations, episode.next_observations[-1:]]),
        actions=actions,
        rewards=episode.rewards,
        terminations=terminations,
        truncations=truncations,
    )


def _gymnasium_spaces(spaces: Spaces) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    seen = gymnasium.spaces.Box(-np.inf, np.inf, (spaces.observation_size,), np.float32)
    if spaces.first_action is not None:
        return seen, gymnasium.spaces.Discrete(spaces.action_size, start=spaces.first_action)
    return seen, gymnasium.spaces.Box(spaces.action_low, spaces.action_high, dtype=np.float32)


def _own_environment(task: Task) -> Any:
    """The specification of one of Gymnasium's own environments, from which a dataset's reader can make it; else None.

    Minari makes the environment, so no other task's code is named here.
    """
    spec = gymnasium.registry.get(task.id)
    if spec is None or not str(spec.entry_point).startswith("gymnasium.envs."):
        return None
    return gymnasium.spec(task.id) if not task.kwargs else None
