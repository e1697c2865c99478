"""A study on rollouts, from its config to its results: PPO with normalised observations, several environments."""

import shutil
from pathlib import Path

import minari
import numpy as np
import pytest

from rlottery.agents.normalization import normalized
from rlottery.config import Config, load_config
from rlottery.envs import make
from rlottery.errors import StudyError
from rlottery.export.export import export_policy
from rlottery.export.finished_run import read_finished
from rlottery.export.folded_policy import read_folded
from rlottery.export.formats import FORMATS
from rlottery.export.policy import load_agent
from rlottery.interop.minari import read_dataset, write_dataset
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import read_metrics
from rlottery.storage.paths import RunFiles
from rlottery.storage.study_record import note_command
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.plan import JobState, plan_study
from rlottery.study.resources.disk_space import replay_bytes
from rlottery.study.resources.estimate import Rates, train_seconds
from rlottery.study.stages.run_stage import run_stage
from rlottery.training.replay_buffer import load_replay
from tests.export.exported import policy_of_the_page, writer_here

STUDY = """
name: ppo
algorithm: ppo
tasks: [Pendulum-v1]
seeds: [0]
network: {actor: [8, 8], critic: [8, 8]}
ppo: {rollout_steps: 40, batch_size: 20, epochs: 2, normalize_observations: true, normalize_rewards: true}
training: {env_steps: 250, environments: 2}
evaluation: {interval: 50, episodes: 1, score_evaluations: 1, untrained_policies: 2}
arms:
  - {name: taylor, criterion: taylor, sparsity: 0.5, allocation: erk, batches: 2, batch_size: 8}
  - {name: snip, criterion: snip, sparsity: 0.5, allocation: erk, batches: 2, batch_size: 8}
  - {name: late, criterion: magnitude, sparsity: 0.5, rewind: {step: 80}}
  - {name: gradual, sparsity: 0.5, schedule: {gradual: {start: 0.2, end: 0.75, interval: 40}}}
  - {name: rigl, sparsity: 0.5, schedule: {rigl: {drop: 0.3, end: 0.75, interval: 40}}}
"""
SPARSE = ("taylor", "snip", "late", "gradual", "rigl")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("ppo") / "config.yaml"
    path.write_text(STUDY)
    config = load_config(path, [f"data={path.parent / 'data'}"])
    note_command(config, has_work=True)
    for tracked in plan_study(config, None, STAGES):
        run_stage(tracked.job)
    return config


def files(study: Config, arm: str) -> RunFiles:
    return RunFiles(study.data / "runs" / "Pendulum-v1" / "seed_0" / arm)


def test_everything_is_done_after_so_many_updates(study: Config) -> None:
    """Six rollouts of 40 steps, and ten steps that are not learned from; two rollouts less for a late start."""
    assert {tracked.state for tracked in plan_study(study, None, STAGES)} == {JobState.FOUND}
    for arm in ("dense", *SPARSE):
        agent = read_arrays(files(study, arm).agent)
        assert int(agent["updates"]) == 6 * 4 and int(agent["optimizer.actor.0.count"]) == (16 if arm == "late" else 24)
        assert agent["observations.count"] == pytest.approx(240, abs=0.01)
    manifest = read_manifest(files(study, "dense"))
    assert manifest is not None and manifest["fingerprint"]["training"].keys() == {
        *("env_steps", "replay_capacity", "environments")
    }
    assert "replay/ends.npy" in manifest["files"]


@pytest.mark.parametrize("arm", SPARSE)
def test_pruned_weights_are_zero_in_networks_and_moments(study: Config, arm: str) -> None:
    agent = read_arrays(files(study, arm).agent)
    for group, layers in read_mask(files(study, arm).mask).groups.items():
        for path, mask in layers.items():
            kernel = agent[f"params.{group}.{path}.kernel"]
            assert not kernel[~mask].any() and kernel[mask].any()
            assert not any(agent[f"optimizer.{group}.0.{m}.{path}.kernel"][~mask].any() for m in ("mu", "nu"))


def test_late_rewinding_gives_back_statistics_and_deviations(study: Config) -> None:
    point = read_arrays(files(study, "dense").rewind_point(80))
    assert point["observations.count"] == pytest.approx(80, abs=0.01) and int(point["updates"]) == 8
    # It continues with them: after 160 more steps it has seen 240. Another start would have seen 160.
    late = read_arrays(files(study, "late").agent)
    assert late["observations.count"] == pytest.approx(240, abs=0.01) and (late["log_std"] != point["log_std"]).any()


def test_policies_act_on_normalised_observations_wherever_they_are_read(study: Config, tmp_path: Path) -> None:
    run = files(study, "taylor")
    agent, observations = read_arrays(run.agent), np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    seen = normalized(observations, agent["observations.mean"], agent["observations.variance"])
    assert np.abs(seen - observations).max() > 0.1
    hidden = seen
    for layer in ("layer_0", "layer_1"):
        hidden = np.maximum(hidden @ agent[f"params.actor.{layer}.kernel"] + agent[f"params.actor.{layer}.bias"], 0)
    expected = hidden @ agent["params.actor.layer_2.kernel"] + agent["params.actor.layer_2.bias"]
    expected = 2.0 * expected.clip(-1, 1)
    exported = export_policy(run.folder, tmp_path / "policy.npz").file
    for policy in (load_agent(run.folder), load_agent(exported), policy_of_the_page()(exported)):
        np.testing.assert_allclose(policy(observations), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_every_format_act_on_normalised_observations(
    study: Config, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, writer = files(study, "taylor").folder, writer_here(name, monkeypatch)
    policy = read_folded(read_finished(run), trust=False).folded
    observations = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = writer.actions(writer.content(policy), policy, observations).actions
    np.testing.assert_allclose(found, load_agent(run)(observations), rtol=0, atol=1e-5)


def test_estimates_count_the_updates_and_the_ends_of_episodes(study: Config) -> None:
    task, spec = study.tasks[0], task_spec(study.tasks[0])
    assert replay_bytes(study, task, spec) == 250 * 4 * (2 * 3 + 1 + 3)
    size = sum(path.stat().st_size for path in files(study, "dense").replay.iterdir())
    assert size == replay_bytes(study, task, spec) + 6 * 128  # a header each
    rates = Rates(1e9, 1e9, 1.0, spec)
    one, two = (train_seconds(study, task, rates, steps) for steps in (200, 250))
    assert two - one == pytest.approx(
        train_seconds(study, task, rates, 40) - train_seconds(study, task, rates, 39), rel=1e-3
    )
    losses = [row for row in read_metrics(files(study, "dense").metrics) if row["kind"] == "losses"]
    assert not losses  # a row each 1,000 steps


def test_without_rollouts_criteria_say_so(study: Config, tmp_path: Path) -> None:
    shutil.copytree(study.data, tmp_path / "data")
    config = load_config(study.data.parent / "config.yaml", [f"data={tmp_path / 'data'}"])
    shutil.rmtree(files(config, "dense").replay)
    files(config, "taylor").mask.unlink()
    with pytest.raises(StudyError, match=r"Rollouts not found: .*\nGradient saliency needs the rollouts that dense"):
        plan_study(config, None, ("mask",))


def test_its_rollouts_become_a_minari_dataset(study: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder, name = files(study, "dense").folder, "rlottery/pendulum/ppo-v0"
    written = write_dataset(folder, name)
    assert (written.transitions, written.episodes) == (250, 2) and written.folder == tmp_path / name
    stored, read = load_replay(folder / "replay"), read_dataset(name, "Pendulum-v1", 3, make("Pendulum-v1").actions)
    order = np.r_[0:250:2, 1:250:2]  # one environment after the other
    for field in ("observations", "next_observations", "rewards", "terminations"):
        np.testing.assert_array_equal(getattr(read, field), np.asarray(getattr(stored, field))[order])
    np.testing.assert_allclose(read.actions, np.clip(stored.actions[order], -1, 1), atol=2e-7)
    for wrong, words in ((name, "already, and it was not changed"), ("pendulum", "is no id of a Minari dataset")):
        with pytest.raises(StudyError, match=words):
            write_dataset(folder, wrong)
    with pytest.raises(StudyError, match="Replay buffer not found"):
        write_dataset(files(study, "taylor").folder, "rlottery/pendulum/ticket-v0")
    assert list(minari.list_local_datasets()) == [name]
