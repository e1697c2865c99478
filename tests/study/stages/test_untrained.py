"""The untrained policies of a task: what they score, and what becomes of their scores when a command is interrupted."""

from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest

from rlottery.agents.base import jax_key
from rlottery.agents.sac import SAC
from rlottery.config import Config
from rlottery.errors import StoppedError, StudyError
from rlottery.seeding import Streams, evaluation_seeds, untrained_seeds
from rlottery.storage.untrained_record import UntrainedScores, read_untrained
from rlottery.study.planning.jobs import OF_TASK, UNTRAINED, Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.untrained import untrained_is_done
from rlottery.study.stages.run_stage import run_stage
from tests.study.studies import tiny_config, write_untrained


def sample(config: Config, stop_after: int | None = None) -> UntrainedScores:
    """Evaluate the policies, or only so many of them. Returns what is saved."""
    job, asked = Job(config, UNTRAINED, 0, OF_TASK), []

    def stop_wanted() -> bool:
        asked.append(None)
        return len(asked) == stop_after

    if stop_after is None:
        run_stage(job)
    else:
        with pytest.raises(StoppedError):
            run_stage(job, stop_wanted)
    found = read_untrained(job.untrained_files)
    assert found is not None
    return found


def pendulum_return(params: dict, seed: int) -> float:
    """The return of the mean action on an episode of Gymnasium's own environment, in NumPy."""
    environment = gymnasium.make("Pendulum-v1")
    observation, _ = environment.reset(seed=seed % 2**31)
    total, over = 0.0, False
    while not over:
        hidden = observation.astype(np.float64)
        for name in ("layer_0", "layer_1"):
            hidden = np.maximum(hidden @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"]), 0)
        mean = (hidden @ np.asarray(params["layer_2"]["kernel"]) + np.asarray(params["layer_2"]["bias"]))[:1]
        observation, reward, terminated, truncated, _ = environment.step(2 * np.tanh(mean).astype(np.float32))
        total, over = total + float(reward), terminated or truncated
    return total


def test_each_policy_has_weights_of_its_own_and_plays_the_evaluation_episodes_in_turn(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "evaluation.episodes=2", "evaluation.untrained_policies=3")
    found = sample(config)
    settings = SAC.description.settings(config, config.tasks[0], None)
    make = jax.jit(lambda key: SAC.init_params(key, task_spec(config.tasks[0]), settings)["actor"])
    episodes = evaluation_seeds("tiny", "Pendulum-v1", 2)
    expected = [
        pendulum_return(make(jax_key(seed)), episodes[place])
        for seed, place in zip(untrained_seeds("tiny", "Pendulum-v1", 3), (0, 1, 0), strict=True)
    ]
    assert found.returns == pytest.approx(expected, rel=1e-3)
    assert len({round(value, 3) for value in found.returns}) == 3
    assert found.successes == [None] * 3


def test_no_run_shares_their_weights_and_more_policies_keep_the_first() -> None:
    seeds = untrained_seeds("study", "task", 1_000)
    assert len(set(seeds)) == 1_000
    assert untrained_seeds("study", "task", 10) == seeds[:10]
    assert set(seeds).isdisjoint(Streams("study", "task", seed, "dense").for_weights() for seed in range(1_000))
    assert set(seeds).isdisjoint(untrained_seeds("study", "other", 1_000))


def test_what_was_interrupted_or_is_too_little_is_continued(tmp_path: Path) -> None:
    whole = sample(tiny_config(tmp_path / "whole", "evaluation.untrained_policies=4")).returns
    config = tiny_config(tmp_path / "halted", "evaluation.untrained_policies=3")
    halted = sample(config, stop_after=1)
    assert (halted.returns, halted.policies) == (whole[:1], 3)
    assert not untrained_is_done(Job(config, UNTRAINED, 0, OF_TASK))
    assert sample(config).returns == whole[:3]
    more = tiny_config(tmp_path / "halted", "evaluation.untrained_policies=4")
    assert not untrained_is_done(Job(more, UNTRAINED, 0, OF_TASK))
    assert sample(more).returns == whole
    assert untrained_is_done(Job(config, UNTRAINED, 0, OF_TASK))


def test_damaged_scores_are_made_again_and_those_of_another_study_are_refused(tmp_path: Path) -> None:
    job = write_untrained(tiny_config(tmp_path), -1.0, -2.0)
    assert untrained_is_done(job)
    with pytest.raises(StudyError, match=r"evaluation.episodes: the files have 1, this config asks for 2"):
        untrained_is_done(Job(tiny_config(tmp_path, "evaluation.episodes=2"), UNTRAINED, 0, OF_TASK))
    text = job.untrained_files.scores.read_text()
    job.untrained_files.scores.write_text(text.replace("-2.0", "-3.0"))
    assert not untrained_is_done(job)
