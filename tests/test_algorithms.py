"""A study of another algorithm than the default one, from its config to its results, with arms of every kind."""

from typing import Any

import numpy as np
import pytest

import rlottery
from rlottery.agents.base import kernels
from rlottery.agents.networks import mlp_in_numpy
from rlottery.config import Config, load_config
from rlottery.errors import StudyError
from rlottery.export.policy import load_agent
from rlottery.pruning.mask_file import read_mask
from rlottery.report.setting import setting_line
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import read_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.study_record import note_command
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import JobState, plan_study
from rlottery.study.stages.run_stage import run_stage

STUDY = """
name: td3
algorithm: td3
tasks: [Pendulum-v1]
seeds: [0]
network: {actor: [8, 8], critic: [8, 8]}
td3: {batch_size: 16}
training: {env_steps: 160, warmup_steps: 60}
evaluation: {interval: 80, episodes: 1, score_evaluations: 1, untrained_policies: 2}
arms:
  - {name: taylor, criterion: taylor, sparsity: 0.5, allocation: erk, batches: 2, batch_size: 8}
  - {name: late, criterion: magnitude, sparsity: 0.5, rewind: {step: 70}}
  - {name: gradual, sparsity: 0.5, schedule: {gradual: {start: 0.4, end: 0.75, interval: 20}}}
  - {name: rigl, sparsity: 0.5, schedule: {rigl: {drop: 0.3, end: 0.75, interval: 20}}}
  - {name: random, control: random, of: taylor}
  - {name: small, control: small-dense, of: taylor}
"""
SPARSE = ("taylor", "late", "gradual", "rigl", "random")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("td3") / "config.yaml"
    path.write_text(STUDY)
    config = load_config(path, [f"data={path.parent / 'data'}"])
    note_command(config, has_work=True)
    for tracked in plan_study(config, None, STAGES):
        run_stage(tracked.job)
    return config


def files(study: Config, arm: str) -> RunFiles:
    return RunFiles(study.data / "runs" / "Pendulum-v1" / "seed_0" / arm)


def test_everything_is_done_and_says_what_trained_it(study: Config) -> None:
    assert {tracked.state for tracked in plan_study(study, None, STAGES)} == {JobState.FOUND}
    for arm in ("dense", "small", *SPARSE):
        manifest = read_manifest(files(study, arm))
        assert manifest is not None and manifest["status"] == "done"
        assert manifest["fingerprint"]["td3"]["batch_size"] == 16 and "sac" not in manifest["fingerprint"]
    assert set(rlottery.load_study(study.data).runs["status"]) == {"done"}
    assert setting_line(study).startswith("TD3 with 2 x 8 units, 160 steps, ")


@pytest.mark.parametrize("arm", SPARSE)
def test_pruned_weights_are_zero_in_networks_targets_and_moments(study: Config, arm: str) -> None:
    agent, masks = read_arrays(files(study, arm).agent), read_mask(files(study, arm).mask).groups
    for group, layers in masks.items():
        for path, mask in layers.items():
            assert 0 < mask.sum() < mask.size or mask.all()
            for place in ("params", "targets"):
                kernel = agent[f"{place}.{group}.{path}.kernel"]
                assert not kernel[~mask].any() and kernel[mask].any()
            for moment in ("mu", "nu"):
                assert not agent[f"optimizer.{group}.0.{moment}.{path}.kernel"][~mask].any()
    assert int(agent["updates"]) == (30 if arm == "late" else 100)


def test_its_policies_are_exported_as_they_act(study: Config) -> None:
    run = files(study, "taylor")
    named = {name: array for name, array in read_arrays(run.agent).items() if name.startswith("params.actor.")}
    actor: dict[str, Any] = {}
    for name, array in named.items():
        *_, layer, leaf = name.split(".")
        actor.setdefault(layer, {})[leaf] = array
    assert len(kernels(actor)) == 3
    observation = np.array([0.3, -0.9, 1.2], np.float32)
    expected = 2.0 * np.tanh(mlp_in_numpy(actor, observation))
    np.testing.assert_allclose(load_agent(run.folder)(observation), expected, rtol=1e-5)


def test_another_algorithm_in_the_same_folder_is_refused(study: Config) -> None:
    path = study.data.parent / "sac.yaml"
    path.write_text(STUDY.replace("algorithm: td3\n", "").replace("td3: {batch", "sac: {batch"))
    config = load_config(path, [f"data={study.data}"])
    with pytest.raises(StudyError, match="algorithm: the files have 'td3', this config asks for 'sac'"):
        plan_study(config, None, STAGES)


def test_a_folder_holds_the_runs_of_one_algorithm(study: Config) -> None:
    """Also where no run of the other one is in its way: the record could not say what trained which task."""
    path = study.data.parent / "other.yaml"
    path.write_text("tasks: [InvertedPendulum-v5]\nseeds: [0]\n")
    with pytest.raises(StudyError, match="trains with td3, and this config with sac. A folder holds one study"):
        note_command(load_config(path, [f"data={study.data}"]), has_work=True)
