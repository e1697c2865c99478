"""Loaded agents act as in training, from a run's folder and from an exported file; bad input is one message."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rlottery
from rlottery import envs
from rlottery.errors import RlotteryError, StudyError, TaskError
from rlottery.export.export import export_policy
from rlottery.export.policy import Policy, load_agent
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import RunFiles
from rlottery.training.evaluation import evaluate
from tests.export.exported import policy_of_the_page
from tests.laboratory import laboratory
from tests.study.studies import change_manifest, forget_spaces

ARMS = """\
arms:
  - {name: magnitude, criterion: magnitude, sparsity: {actor: 0.9, critic: 0.8}}
  - {name: small-dense, control: small-dense, of: magnitude}
"""
NAMES = ("dense", "magnitude", "small-dense")
OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a seed's runs, one an arm, trained in earnest."""
    lab = laboratory(tmp_path_factory.mktemp("loading"), ARMS, "evaluation.episodes=2", "network.actor=[64, 64]")
    lab.run(lambda job: job.seed == 0)
    return lab.job("dense").files.folder.parent


@pytest.fixture
def ticket(runs: Path, tmp_path: Path) -> RunFiles:
    """A copy of the ticket's run."""
    return RunFiles(shutil.copytree(runs / "magnitude", tmp_path / "magnitude"))


@pytest.fixture
def exported(runs: Path, tmp_path: Path) -> Path:
    return export_policy(runs / "magnitude", tmp_path / "policy.npz").file


def refusal(path: Path, trust: bool = False) -> str:
    with pytest.raises(RlotteryError) as error:
        load_agent(path, trust=trust)
    return str(error.value)


@pytest.mark.parametrize("arm", NAMES)
def test_the_evaluation_that_training_ended_with_is_repeated(runs: Path, arm: str) -> None:
    policy = load_agent(runs / arm)
    row = read_evaluations(RunFiles(runs / arm).metrics)[-1]
    environment = envs.make(policy.task, policy.kwargs)
    again = evaluate(policy.squashed, [environment], evaluation_seeds("laboratory", "Pendulum-v1", 2))
    # Training sums in the order of its kernels: what is left of 200 steps is rounding.
    assert again.returns == pytest.approx(row["returns"], rel=1e-5)
    assert again.lengths == row["lengths"] == [200, 200]
    assert row["returns"][0] != pytest.approx(row["returns"][1], rel=1e-3), "alike episodes would show nothing"


def test_actions_never_exceed_the_tasks_bounds() -> None:
    low, high = np.array([-0.4, -1, 0.1, -2], np.float32), np.array([0.8, 1, 0.3, 2], np.float32)
    saturated = ((np.ones((1, 4), np.float32), np.zeros(4, np.float32)),)
    policy = Policy("", {}, 0, "dense", 0.0, 1, 4, low, high, saturated)
    actions = policy([[100.0], [-100.0], [0.0]])
    assert actions.dtype == np.float32
    assert np.array_equal(actions[:2], [high, low])
    assert np.allclose(actions[2], (low + high) / 2)


@pytest.mark.parametrize("arm", NAMES)
def test_actions_are_those_of_the_weights_at_double_precision(runs: Path, arm: str) -> None:
    arrays = {name: array.astype(np.float64) for name, array in read_arrays(RunFiles(runs / arm).agent).items()}
    hidden = OBSERVATIONS.astype(np.float64)
    for index in range(3):
        hidden = hidden @ arrays[f"params.actor.layer_{index}.kernel"] + arrays[f"params.actor.layer_{index}.bias"]
        hidden = np.maximum(hidden, 0) if index < 2 else hidden
    policy = load_agent(runs / arm)
    # Torques of the pendulum go from -2 to 2; the second output is the deviation's.
    np.testing.assert_allclose(policy(OBSERVATIONS), 2 * np.tanh(hidden[:, :1]), rtol=0, atol=2e-6)
    np.testing.assert_allclose(policy.squashed(OBSERVATIONS), np.tanh(hidden[:, :1]), rtol=0, atol=1e-6)
    assert np.ptp(policy(OBSERVATIONS)) > 1e-3, "a constant would show nothing"


def test_one_observation_or_many(runs: Path) -> None:
    policy = load_agent(runs / "magnitude")
    many = policy(OBSERVATIONS)
    assert many.shape == (50, 1) and many.dtype == np.float32
    one = policy(OBSERVATIONS[7].tolist())
    assert one.shape == (1,)
    np.testing.assert_allclose(one, many[7], rtol=0, atol=1e-6)
    assert policy(np.empty((0, 3))).shape == (0, 1)


def test_what_a_policy_says_of_itself(runs: Path) -> None:
    manifest = read_manifest(RunFiles(runs / "magnitude"))
    assert manifest is not None
    policy = load_agent(str(runs / "magnitude"))
    assert (policy.task, dict(policy.kwargs), policy.seed, policy.arm) == ("Pendulum-v1", {}, 0, "magnitude")
    assert (policy.observation_size, policy.action_size) == (3, 1)
    assert (policy.action_low.tolist(), policy.action_high.tolist()) == ([-2.0], [2.0])
    assert policy.sparsity == manifest["sparsity"]["actor"] == pytest.approx(0.9, abs=0.01)
    assert load_agent(runs / "dense").sparsity == 0.0
    assert repr(policy) == (
        "Policy(task='Pendulum-v1', arm='magnitude', seed=0, "
        f"sparsity={policy.sparsity:.3g}, observation_size=3, action_size=1)"
    )
    assert repr(load_agent(runs / "dense")).endswith("arm='dense', seed=0, observation_size=3, action_size=1)")


@pytest.mark.parametrize("arm", NAMES)
def test_an_exported_file_acts_as_its_reader_says(runs: Path, tmp_path: Path, arm: str) -> None:
    file = export_policy(runs / arm, tmp_path / "policy.npz").file
    policy, reader, run = load_agent(file), policy_of_the_page()(file), load_agent(runs / arm)
    np.testing.assert_array_equal(policy(OBSERVATIONS), reader(OBSERVATIONS))
    for name in ("task", "seed", "arm", "sparsity", "observation_size", "action_size"):
        assert getattr(policy, name) == getattr(run, name) == reader.about[name]
    np.testing.assert_array_equal(policy.action_high, run.action_high)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros(4), "not (4,)"),
        (np.zeros((3, 2)), "not (3, 2)"),
        (np.zeros((2, 2, 3)), "not (2, 2, 3)"),
        (1.0, "not ()"),
        (["a", "b", "c"], "must be numbers"),
    ],
)
def test_wrong_observations(runs: Path, given: Any, said: str) -> None:
    with pytest.raises(TaskError, match="Pendulum-v1: observations must") as error:
        load_agent(runs / "dense")(given)
    assert said in str(error.value)


class TestFolders:
    def test_what_the_policy_is_not_made_of_is_not_looked_at(self, ticket: RunFiles) -> None:
        ticket.metrics.write_bytes(b"")
        assert load_agent(ticket.folder).arm == "magnitude"

    def test_none(self, tmp_path: Path) -> None:
        assert "nosuch is not a folder. Give the folder of a finished run" in refusal(tmp_path / "nosuch")

    def test_the_folder_above(self, runs: Path) -> None:
        assert f"{runs} contains no run" in refusal(runs)

    def test_unfinished(self, ticket: RunFiles) -> None:
        ticket.manifest.unlink()
        assert "is not finished. Run its study again" in refusal(ticket.folder)

    def test_diverged(self, ticket: RunFiles) -> None:
        change_manifest(ticket, status="diverged", error="The critic's loss is nan.")
        assert "diverged, so it has no policy. The critic's loss is nan." in refusal(ticket.folder)

    @pytest.mark.parametrize("name", ["agent", "mask", "manifest"])
    def test_damaged(self, ticket: RunFiles, name: str) -> None:
        path = getattr(ticket, name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert f"{path} is damaged" in refusal(ticket.folder)

    def test_another_task_of_that_name(self, ticket: RunFiles) -> None:
        change_manifest(ticket, fingerprint={"sac": {}, "task": {"id": "MountainCarContinuous-v0", "kwargs": {}}})
        forget_spaces(ticket)
        assert "doesn't fit MountainCarContinuous-v0 as it is on this machine" in refusal(ticket.folder, trust=True)

    def test_a_task_that_is_not_here(self, ticket: RunFiles) -> None:
        change_manifest(ticket, fingerprint={"sac": {}, "task": {"id": "Pendlum-v1", "kwargs": {}}})
        assert load_agent(ticket.folder).task == "Pendlum-v1"
        forget_spaces(ticket)
        assert "Did you mean Pendulum-v1" in refusal(ticket.folder, trust=True)

    def test_a_run_of_an_earlier_version_has_the_bounds_of_its_environment(self, ticket: RunFiles) -> None:
        recorded = load_agent(ticket.folder)
        forget_spaces(ticket)
        made = load_agent(ticket.folder, trust=True)
        np.testing.assert_array_equal(made(OBSERVATIONS), recorded(OBSERVATIONS))
        assert made.action_low.dtype == recorded.action_low.dtype == np.float32

    @pytest.mark.parametrize(
        "wrong",
        [
            {"observation_size": 4},
            {"action_low": [-2.0, -2.0], "action_high": [2.0, 2.0]},
            {"action_low": [2.0], "action_high": [-2.0]},
            {"action_low": [-1e300]},
            {"action_low": []},
        ],
    )
    def test_bounds_that_are_none(self, ticket: RunFiles, wrong: dict[str, Any]) -> None:
        spaces = {"observation_size": 3, "action_low": [-2.0], "action_high": [2.0]}
        change_manifest(ticket, spaces={**spaces, **wrong})
        said = refusal(ticket.folder)
        assert "are no bounds" in said or "doesn't fit Pendulum-v1 as it was in training" in said


def rewritten(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """The exported file with other arrays, and other words in `about`."""
    with np.load(file) as opened:
        arrays: dict[str, Any] = dict(opened)
    about = json.loads(arrays["about"].item())
    change(arrays, about)
    np.savez(file, **(arrays | {"about": np.array(json.dumps(about).encode())}))
    return file


class TestFiles:
    @pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00v\x00"])
    def test_of_something_else(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "file.npz"
        file.write_bytes(content)
        assert f"{file} is not a policy from `rlottery export`, or it is damaged" in refusal(file)

    def test_an_npz_of_something_else(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "file.npz", weights=np.ones(3))
        assert "is not a policy from `rlottery export`" in refusal(tmp_path / "file.npz")

    def test_a_pickle_inside_is_not_opened(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "file.npz", about=np.array([print], dtype=object))
        assert "is not a policy from `rlottery export`" in refusal(tmp_path / "file.npz")

    def test_every_cut_and_a_changed_byte(self, exported: Path) -> None:
        whole = exported.read_bytes()
        for length in range(0, len(whole), 97):
            exported.write_bytes(whole[:length])
            assert "is not a policy" in refusal(exported)
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            stored = archive.read("layer_0.bias.npy")
        place = whole.index(stored) + len(stored) - 2
        exported.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "is not a policy" in refusal(exported)

    def test_another_format(self, exported: Path) -> None:
        def change(_: dict[str, Any], about: dict[str, Any]) -> None:
            about["format_version"] = 4

        assert "has format 4, but this version of rlottery reads formats 1 to 3" in refusal(rewritten(exported, change))

    @pytest.mark.parametrize(
        "change",
        [
            lambda arrays, about: arrays.pop("layer_1.bias"),
            lambda arrays, about: about.update(layers=0),
            lambda arrays, about: about.update(layers=2),
            lambda arrays, about: about.update(layers="3"),
            lambda arrays, about: about.update(observation_size=4),
            lambda arrays, about: about.update(observation_size=10**15),
            lambda arrays, about: about.update(action_size=2),
            lambda arrays, about: about.update(action_low=[-2.0, 0.0]),
            lambda arrays, about: about.pop("sparsity"),
            lambda arrays, about: arrays.update({"layer_0.bias": np.full_like(arrays["layer_0.bias"], np.nan)}),
            lambda arrays, about: arrays.update({"layer_0.bias": arrays["layer_0.bias"].astype(np.float64)}),
            lambda arrays, about: arrays.update({"layer_1.kernel": np.ones((2, 2), np.float32)}),
        ],
    )
    def test_what_does_not_fit_together(self, exported: Path, change: Any) -> None:
        assert "its arrays don't fit together" in refusal(rewritten(exported, change))

    def test_a_file_that_promises_more_than_there_is(self, tmp_path: Path) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**14,)})
        with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
            archive.writestr("about.npy", header.getvalue() + b"few bytes")
        assert "is not a policy" in refusal(tmp_path / "file.npz")

    def test_one_that_would_unpack_to_too_much(self, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rlottery.export.policy.MAX_POLICY_BYTES", 1_000)
        assert "is not a policy" in refusal(exported)


class TestPackage:
    def test_its_names(self) -> None:
        assert rlottery.load_agent is load_agent and rlottery.Policy is Policy
        with pytest.raises(AttributeError, match="no attribute 'load_agents'"):
            rlottery.load_agents  # noqa: B018

    def test_acting_needs_no_jax(self, exported: Path) -> None:
        seen = "sorted({'jax', 'pandas', 'scipy', 'matplotlib', 'av'} & sys.modules.keys())"
        code = f"import sys, rlottery; rlottery.load_agent({str(exported)!r})([0, 0, 0]); print({seen})"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_it_is_a_study_error_or_a_tasks(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        load_agent(tmp_path)
