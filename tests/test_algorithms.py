"""Studies of algorithms other than the default one, from config to results, with arms of every way of training.

Two environments, and updates at every second step where the algorithm learns from replay. PPO on continuous actions has
a study in `test_on_policy.py`.
"""

from typing import Any

import numpy as np
import pytest
import yaml

import rlottery
from rlottery.agents.networks import mlp_in_numpy
from rlottery.config import Config, load_config
from rlottery.envs import make
from rlottery.errors import StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.folded_policy import read_folded
from rlottery.export.formats import FORMATS
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
from tests.cases import DQN, PPO_DISCRETE, TD3, Case, held
from tests.export.exported import writer_here

STUDY = """
seeds: [0]
evaluation: {interval: 80, episodes: 2, score_evaluations: 1, untrained_policies: 2}
arms:
  - {name: taylor, criterion: taylor, sparsity: 0.5, allocation: erk, batches: 2, batch_size: 8}
  - {name: late, criterion: magnitude, sparsity: 0.5, rewind: {step: 80}}
  - {name: rigl, sparsity: 0.5, schedule: {rigl: {drop: 0.3, end: 0.75, interval: 20}}}
  - {name: random, control: random, of: taylor}
"""
SPARSE = ("taylor", "late", "rigl", "random")


@pytest.fixture(scope="module", params=[TD3, DQN, PPO_DISCRETE], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def study(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp(case.name) / "config.yaml"
    own = {"name": case.name, "algorithm": case.name, "tasks": [case.task], case.name: case.section}
    own["network"] = {group: [8, 8] for group in case.groups}
    own["training"] = {"env_steps": 160, "environments": 2, **case.training}
    path.write_text(yaml.safe_dump(own) + STUDY)
    config = load_config(path, [f"data={path.parent / 'data'}"])
    note_command(config, has_work=True)
    for tracked in plan_study(config, None, STAGES):
        run_stage(tracked.job)
    return config


def files(study: Config, arm: str) -> RunFiles:
    return RunFiles(study.data / "runs" / study.tasks[0].name / "seed_0" / arm)


def test_everything_is_done_and_says_what_trained_it(study: Config, case: Case) -> None:
    assert {tracked.state for tracked in plan_study(study, None, STAGES)} == {JobState.FOUND}
    for arm in ("dense", *SPARSE):
        manifest = read_manifest(files(study, arm))
        assert manifest is not None and manifest["status"] == "done"
        assert manifest["fingerprint"][case.name]["batch_size"] == case.section["batch_size"]
        assert "sac" not in manifest["fingerprint"]
    assert set(rlottery.load_study(study.data).runs["status"]) == {"done"}
    assert setting_line(study).startswith(f"{case.description.label} with 2 x 8 units, 160 steps, ")


@pytest.mark.parametrize("arm", SPARSE)
def test_pruned_weights_are_zero_in_networks_targets_and_moments(study: Config, case: Case, arm: str) -> None:
    agent, masks = read_arrays(files(study, arm).agent), read_mask(files(study, arm).mask).groups
    assert tuple(masks) == case.groups
    for group, layers in masks.items():
        for path, mask in layers.items():
            assert 0 < mask.sum() < mask.size or mask.all()
            for name, array in held(case, agent, group, path).items():
                assert not array[~mask].any(), name
            kernel = agent[f"params.{group}.{path}.kernel"]
            assert kernel[mask].any()


@pytest.mark.parametrize("arm", ["dense", *SPARSE])
def test_updates_are_as_many_as_the_study_says(study: Config, case: Case, arm: str) -> None:
    """A ticket that is rewound to step 80 of 160 is trained for the other 80 steps, with a fresh optimiser."""
    training = study.training_for(study.tasks[0])
    last = case.groups[-1]  # TD3's actor is updated less often
    count = int(read_arrays(files(study, arm).agent)[f"optimizer.{last}.0.count"])
    assert count == training.updates_by(80 if arm == "late" else 160) > 0


@pytest.mark.parametrize("arm", ["dense", "taylor", "rigl"])
def test_its_policies_are_exported_as_they_act(study: Config, case: Case, arm: str) -> None:
    """By the weights in the file: where these say an action, the policy says it in the task's own terms."""
    run, spec, algorithm = files(study, arm), case.spec, case.algorithm
    acting, agent = case.description.acting, read_arrays(run.agent)
    arrays = {name: agent[name] for name in ("log_std",) if name in agent}
    if "observations.mean" in agent:
        arrays |= {name: agent[f"observations.{name}"] for name in ("mean", "variance")}
    network: dict[str, Any] = {}
    for name, array in agent.items():
        if name.startswith(f"params.{acting}."):
            layer, leaf = name.removeprefix(f"params.{acting}.").split(".")
            network.setdefault(layer, {})[leaf] = array
    observations = np.random.default_rng(0).normal(size=(5, spec.observation_size)).astype(np.float32)
    own = make(case.task, {})
    seen = [mlp_in_numpy(network, algorithm.see(one, arrays), "relu") for one in observations]
    outputs = [algorithm.complete(of_network, arrays) for of_network in seen]
    expected = [own.actions.own(algorithm.deterministic(row, spec)) for row in outputs]
    own.close()
    np.testing.assert_allclose(load_agent(run.folder)(observations), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_every_format_act_as_its_policies_do(
    study: Config, case: Case, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "torch" and case is not DQN:
        return  # seconds to start; test_on_policy.py has what else differs, and test_torch_program.py has tanh
    run, writer = files(study, "taylor").folder, writer_here(name, monkeypatch)
    policy = read_folded(read_finished(run), trust=False).folded
    observations = np.random.default_rng(0).normal(size=(50, case.spec.observation_size)).astype(np.float32)
    found = writer.actions(writer.content(policy), policy, observations).actions
    np.testing.assert_allclose(found, load_agent(run)(observations), rtol=0, atol=1e-5)


def test_another_algorithm_in_the_same_folder_is_refused(study: Config, case: Case) -> None:
    """Also where no run of the other one is in its way: the record could not say what trained which task."""
    other = study.data.parent / "other.yaml"
    other.write_text(
        "tasks: [Pendulum-v1, InvertedPendulum-v5]\nseeds: [0]\nnetwork: {actor: [8, 8], critic: [8, 8]}\n"
    )
    config = load_config(other, [f"data={study.data}"])
    with pytest.raises(
        StudyError, match=f"trains with {case.name}, and this config with sac. A folder holds one study"
    ):
        note_command(config, has_work=True)
    if case.task == "Pendulum-v1":
        with pytest.raises(StudyError, match=f"algorithm: the files have '{case.name}', this config asks for 'sac'"):
            plan_study(config, None, STAGES)
