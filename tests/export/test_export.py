"""Exported policies of runs that were trained: they act as their runs do, and bad input is one message."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery import envs
from rlottery.agents.sac import SAC
from rlottery.export import npz
from rlottery.export.export import OBSERVATIONS, Export, export_policy
from rlottery.export.formats import Computed
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import make_mask
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import read_arrays, write_arrays, write_bytes, write_json
from rlottery.storage.manifests import file_entry, read_manifest, write_sealed
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import RunFiles
from rlottery.training.evaluation import evaluate
from rlottery.version import __version__
from tests.command import call, refusal
from tests.export.exported import policy_of_the_page
from tests.laboratory import laboratory
from tests.study.studies import change_manifest, forget_spaces

Policy = policy_of_the_page()
Arrays = dict[str, np.ndarray]

ARMS = """\
arms:
  - {name: magnitude, criterion: magnitude, sparsity: {actor: 0.9, critic: 0.8}}
  - {name: rigl, schedule: {rigl: {interval: 20}}, sparsity: {actor: 0.9, critic: 0.8}}
  - {name: small-dense, control: small-dense, of: magnitude}
"""
NAMES = ("dense", "magnitude", "rigl", "small-dense")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a seed's runs, one an arm."""
    lab = laboratory(tmp_path_factory.mktemp("export"), ARMS, "network.actor=[64, 64]")
    lab.run(lambda job: job.seed == 0)
    return lab.job("dense").files.folder.parent


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ticket(runs: Path) -> RunFiles:
    """A copy of the ticket's run, in the working directory."""
    return RunFiles(shutil.copytree(runs / "magnitude", Path("magnitude")))


@pytest.fixture
def dense(runs: Path) -> RunFiles:
    return RunFiles(shutil.copytree(runs / "dense", Path("dense")))


def actor(files: RunFiles) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases of a run's actor, from the input on."""
    arrays = read_arrays(files.agent)
    return [tuple(arrays[f"params.actor.layer_{i}.{leaf}"] for leaf in ("kernel", "bias")) for i in range(3)]  # type: ignore[misc]


def run_acts(files: RunFiles, observations: np.ndarray) -> np.ndarray:
    """The run's deterministic actions in [-1, 1], of weights at double precision."""
    outputs = observations.astype(np.float64)
    for index, (kernel, bias) in enumerate(actor(files)):
        outputs = (np.maximum(outputs, 0) if index else outputs) @ kernel.astype(np.float64) + bias
    actions: np.ndarray = SAC.exploit(outputs)
    return actions


def observations() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(OBSERVATIONS, 3)).astype(np.float32)


def rewrite(files: RunFiles, change: Callable[[Arrays], Arrays], mask: Any = None) -> None:
    """Other weights, and another actor's mask, in a run that is otherwise sound."""
    write_arrays(files.agent, change(read_arrays(files.agent)))
    if mask is not None:
        old = read_mask(files.mask)
        told = {key: old.metadata[key] for key in ("task", "seed", "method", "criterion", "estimator", "fingerprint")}
        made = make_mask(old.groups | {"actor": mask}, sparsity=old.metadata["sparsity_asked"], **told)
        write_bytes(files.mask, mask_to_bytes(made))
    manifest = read_manifest(files)
    assert manifest is not None
    change_manifest(files, files={name: file_entry(files.folder / name) for name in manifest["files"]})


@pytest.mark.parametrize("arm", NAMES)
def test_a_policy_acts_as_its_run_does(runs: Path, arm: str) -> None:
    exported = export_policy(runs / arm, Path("policy.npz"))
    policy, given = Policy("policy.npz"), observations()
    assert np.ptp(policy(given)) > 1e-3, "a constant would show nothing"
    # Torques of the pendulum go from -2 to 2.
    np.testing.assert_allclose(policy(given), 2 * run_acts(RunFiles(runs / arm), given), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(policy(given[0]).shape, (1,))
    assert policy(given).dtype == np.float32
    assert 0 <= exported.difference < 1e-6
    assert exported.difference == 0 or arm in ("magnitude", "rigl")


def test_the_difference_is_that_of_the_actions(runs: Path) -> None:
    # Of sums in another order, with the rounding of 32 bits: some actions differ.
    found = export_policy(runs / "magnitude", Path("policy.npz")).difference
    layers, hidden = actor(RunFiles(runs / "magnitude")), observations()
    for kernel, bias in layers[:-1]:
        hidden = np.maximum(hidden @ kernel + bias, 0)
    ours = np.tanh(hidden @ layers[-1][0][:, :1] + layers[-1][1][:1])
    assert found == pytest.approx(np.abs(Policy("policy.npz")(observations()) / 2 - ours).max(), abs=1.2e-7)


def test_what_is_said_of_a_ticket(runs: Path) -> None:
    files = RunFiles(runs / "magnitude")
    code, said, message = call("export", files.folder, "--to", "policy.npz")
    assert (code, message) == (0, "")
    kept = list(read_mask(files.mask).groups["actor"].values())
    means = [*kept[:2], kept[2][:, :1]]
    # By products of survivors: how many ways lead from each entry or unit to the mean, and to each unit from entries.
    out_of = [means[0] @ (means[1].astype(int) @ means[2]), means[1].astype(int) @ means[2], means[2]]
    into = [means[0].sum(0), means[0].sum(0) @ means[1].astype(int)]
    dead = sum(int(np.sum(ways == 0)) for ways in out_of[1:])
    constant = sum(int(np.sum((o[:, 0] > 0) & (i == 0))) for o, i in zip(out_of[1:], into, strict=True))
    alive = [np.ones(3, bool), *((o[:, 0] > 0) & (i > 0) for o, i in zip(out_of[1:], into, strict=True)), [True]]
    weights = sum(int(mask[np.ix_(alive[i], alive[i + 1])].sum()) for i, mask in enumerate(means))
    assert dead > 0
    unread = [str(entry) for entry in range(3) if not out_of[0][entry].any()]
    assert len(unread) < 2
    unread_text = f"entry {unread[0]} (1 of 3)" if unread else "none of 3"
    assert said.splitlines()[:4] == [
        f"Wrote policy.npz, {Path('policy.npz').stat().st_size:,} bytes.",
        f"Weights: {weights:,}, of {sum(int(mask.sum()) for mask in kept):,} in the run.",
        f"Hidden units removed: {dead} dead and {constant} constant, of 128.",
        f"Observation entries that are not read: {unread_text}.",
    ]
    assert said.splitlines()[4].startswith("Largest difference from the run's actions: ")


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        ((), "none of 4"),
        ((0,), "entry 0 (1 of 4)"),
        ((0, 3), "entries 0 and 3 (2 of 4)"),
        ((0, 1, 3), "entries 0, 1 and 3"),
    ],
)
def test_unread_entries_are_not_mistaken_for_their_number(unread: tuple[int, ...], said: str) -> None:
    exported = Export(Path("a.npz"), 1, 1, 1, 0, 0, 2, unread, observation_size=4, difference=0.0)
    assert f"\nObservation entries that are not read: {said}" in str(exported)


def test_what_a_file_says_of_itself(runs: Path) -> None:
    manifest = read_manifest(RunFiles(runs / "magnitude"))
    assert manifest is not None
    export_policy(runs / "magnitude", Path("policy.npz"))
    with np.load("policy.npz", allow_pickle=False) as file:
        about = json.loads(file["about"].item())
    unread = about.pop("unread_observations")
    mask = read_mask(RunFiles(runs / "magnitude").mask).groups["actor"]
    ways = mask["layer_0"] @ (mask["layer_1"].astype(int) @ mask["layer_2"][:, 0])
    assert unread == np.flatnonzero(ways == 0).tolist()
    assert about == {
        "format_version": 1,
        "layers": 3,
        "task": "Pendulum-v1",
        "seed": 0,
        "arm": "magnitude",
        "sparsity": manifest["sparsity"]["actor"],
        "observation_size": 3,
        "action_size": 1,
        "action_low": [-2.0],
        "action_high": [2.0],
        "rlottery": __version__,
        "agent_sha256": hashlib.sha256(RunFiles(runs / "magnitude").agent.read_bytes()).hexdigest(),
    }
    assert about["sparsity"] == pytest.approx(0.9, abs=0.01)


def test_of_a_dense_agent_all_but_the_deviations_stay(runs: Path) -> None:
    exported = export_policy(runs / "dense", Path("policy.npz"))
    assert (exported.of_weights, exported.weights) == (3 * 64 + 64 * 64 + 64 * 2, 3 * 64 + 64 * 64 + 64)
    assert (exported.dead, exported.constant, exported.of_units, exported.unread) == (0, 0, 128, ())
    policy = Policy("policy.npz")
    for (kernel, bias), (ours, our_bias) in zip(policy.layers, actor(RunFiles(runs / "dense")), strict=True):
        np.testing.assert_array_equal(kernel, ours[:, : kernel.shape[1]])
        np.testing.assert_array_equal(bias, our_bias[: len(bias)])
    assert policy.about["sparsity"] == 0.0


def test_a_constant_policy_is_a_file_like_any_other(ticket: RunFiles) -> None:
    mask = {name: layer.copy() for name, layer in read_mask(ticket.mask).groups["actor"].items()}
    mask["layer_1"][:] = False

    def pruned(arrays: Arrays) -> Arrays:
        return {**arrays, "params.actor.layer_1.kernel": np.zeros((64, 64), np.float32)}

    rewrite(ticket, pruned, mask)
    exported = export_policy(ticket.folder, Path("policy.npz"))
    assert (exported.weights, exported.unread) == (0, (0, 1, 2))
    assert exported.dead + exported.constant == exported.of_units == 128
    actions = Policy("policy.npz")(observations())
    np.testing.assert_allclose(actions, 2 * run_acts(ticket, observations()), rtol=0, atol=1e-6)
    assert np.ptp(actions) == 0
    assert "Observation entries that are not read: all 3, so the actions never change.\n" in str(exported)


def test_without_a_name_it_is_the_runs(runs: Path) -> None:
    code, said, _ = call("export", runs / "magnitude")
    assert code == 0 and said.startswith("Wrote Pendulum-v1_seed_0_magnitude.npz, ")
    assert [path.name for path in Path().iterdir()] == ["Pendulum-v1_seed_0_magnitude.npz"]


def test_any_name_and_a_new_folder_will_do_and_bytes_are_the_same(runs: Path) -> None:
    for name in ("policy.npz", "new/folder/policy"):
        assert call("export", runs / "magnitude", "--to", name)[0] == 0
    assert Path("policy.npz").read_bytes() == Path("new/folder/policy").read_bytes()


def test_a_run_folder_that_was_moved_elsewhere(ticket: RunFiles) -> None:
    shutil.move(ticket.folder, "from-the-cluster")
    code, said, _ = call("export", "from-the-cluster")
    assert code == 0 and said.startswith("Wrote Pendulum-v1_seed_0_from-the-cluster.npz, ")
    assert Policy("Pendulum-v1_seed_0_from-the-cluster.npz").about["arm"] == "magnitude"


def test_what_int8_weights_cost_is_measured_on_the_runs_evaluation_episodes(runs: Path) -> None:
    exported = export_policy(runs / "dense", Path("policy.h"), int8=True, trust=True)
    assert exported.returns is not None and f"\n{exported.returns}" in str(exported)
    files = RunFiles(runs / "dense")
    before = read_evaluations(files.metrics)[-1]["returns"]
    assert exported.returns.float32 == pytest.approx(np.mean(before), rel=1e-5)

    def act(observations: np.ndarray) -> np.ndarray:
        hidden = observations.astype(np.float64)
        for index, (kernel, bias) in enumerate(actor(files)):
            deciding = kernel[:, :1] if index == 2 else kernel
            step = np.abs(deciding).max(axis=0) / 127
            hidden = (np.maximum(hidden, 0) if index else hidden) @ (np.rint(deciding / step) * step)
            hidden += bias[:1] if index == 2 else bias
        return np.tanh(hidden)

    again = evaluate(act, [envs.make("Pendulum-v1")], evaluation_seeds("laboratory", "Pendulum-v1", 1))
    assert exported.returns.int8 == pytest.approx(np.mean(again.returns), rel=1e-4)
    assert exported.returns.int8 != exported.returns.float32
    text = Path("policy.h").read_text()
    assert f"#define POLICY_RETURN_INT8 {exported.returns.int8}\n" in text
    assert "#define POLICY_EVALUATION_EPISODES 1\n" in text and "static const int8_t policy_weights_1[" in text


def test_without_trust_int8_makes_no_task(runs: Path) -> None:
    assert "--int8 would run code" in refusal("export", runs / "dense", "--int8", "--to", "policy.h")


@pytest.mark.parametrize("change", [lambda actions: actions + 0.03, lambda actions: actions[:, 0]])
def test_a_file_that_acts_differently_is_not_written(runs: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    true = npz.actions
    monkeypatch.setattr(npz, "actions", lambda *given: Computed(change(true(*given).actions), "a broken program"))
    said = refusal("export", runs / "dense", "--to", "policy.npz")
    assert "The npz file would compute other actions than the run, so it was not written" in said


class TestNoRun:
    def test_no_folder(self) -> None:
        assert "nosuch is not a folder. Give the folder of a finished run: data/runs/TASK/seed_N/ARM" in refusal(
            "export", "nosuch"
        )

    def test_a_file(self) -> None:
        Path("file").write_text("text")
        assert "file is not a folder" in refusal("export", "file")

    def test_the_folder_above(self, runs: Path) -> None:
        assert f"{runs} contains no run" in refusal("export", runs)

    def test_a_name_that_no_folder_can_have(self) -> None:
        refusal("export", "x" * 5000)  # Python 3.11 says that it is too long, 3.13 that there is none

    def test_unfinished(self, ticket: RunFiles) -> None:
        ticket.manifest.unlink()
        assert "is not finished. Run its study again" in refusal("export", "magnitude")

    @pytest.mark.parametrize("status", ["failed", "diverged"])
    def test_failed_or_diverged(self, ticket: RunFiles, status: str) -> None:
        change_manifest(ticket, status=status, error="The critic's loss is nan.\nBatch and agent are in a file.")
        assert refusal("export", "magnitude") == (
            f"error: The run in magnitude {status}, so it has no policy. The critic's loss is nan.\n"
        )

    def test_a_later_format(self, ticket: RunFiles) -> None:
        manifest = read_manifest(ticket)
        assert manifest is not None
        write_sealed(ticket.manifest, {**manifest, "format_version": 4})
        assert "has format 4, and this version of rlottery reads formats 1 to 3" in refusal("export", "magnitude")

    def test_the_first_format_is_read(self, ticket: RunFiles) -> None:
        manifest: Any = read_manifest(ticket)
        digests = {name: file_entry["sha256"] for name, file_entry in manifest["files"].items()}
        write_json(ticket.manifest, {**manifest, "format_version": 1, "files": digests})
        assert call("export", "magnitude")[0] == 0


class TestDamage:
    @pytest.mark.parametrize("name", ["agent", "mask", "manifest"])
    def test_a_byte(self, ticket: RunFiles, name: str) -> None:
        path = getattr(ticket, name)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        message = refusal("export", "magnitude")
        assert f"{path} is damaged" in message and "Run the study again" in message

    @pytest.mark.parametrize("name", ["agent", "mask"])
    def test_missing(self, ticket: RunFiles, name: str) -> None:
        getattr(ticket, name).unlink()
        assert f"{getattr(ticket, name)} is damaged: it is missing" in refusal("export", "magnitude")

    def test_a_manifest_that_names_no_agent(self, ticket: RunFiles) -> None:
        change_manifest(ticket, files={})
        assert "it lists no agent.safetensors" in refusal("export", "magnitude")

    @pytest.mark.parametrize("fingerprint", [{}, {"task": {"id": "../x"}}])
    def test_a_manifest_that_names_no_task(self, ticket: RunFiles, fingerprint: dict[str, Any]) -> None:
        change_manifest(ticket, fingerprint=fingerprint)
        assert "it doesn't say which algorithm, task, seed and arm the run is of" in refusal("export", "magnitude")

    def test_a_manifest_whose_task_is_a_number(self, ticket: RunFiles) -> None:
        change_manifest(ticket, fingerprint={"task": 3})
        assert "is damaged: fingerprint: task is not a mapping. Run the study again" in refusal("export", "magnitude")


class TestOtherNetworks:
    @pytest.mark.parametrize(
        ("name", "made"),
        [
            ("layer_0.kernel", lambda kernel: kernel[:, :5]),
            ("layer_1.bias", lambda bias: bias[:, None]),
            ("layer_1.kernel", lambda kernel: kernel.astype(np.float64)),
            ("layer_2.bias", lambda bias: np.full_like(bias, np.nan)),
            ("layer_1.kernel", lambda kernel: None),
            ("layer_1.scale", lambda _: np.ones(64, np.float32)),
            ("encoder.kernel", lambda _: np.ones((3, 3), np.float32)),
        ],
    )
    def test_an_actor_that_is_not_sacs(self, dense: RunFiles, name: str, made: Callable[[Any], Any]) -> None:
        key = f"params.actor.{name}"

        def change(arrays: Arrays) -> Arrays:
            changed = {**arrays, key: made(arrays.get(key))}
            return {name: array for name, array in changed.items() if array is not None}

        rewrite(dense, change)
        assert "has no network that chooses actions" in refusal("export", "dense")

    def test_no_actor_at_all(self, dense: RunFiles) -> None:
        rewrite(dense, lambda arrays: {n: a for n, a in arrays.items() if not n.startswith("params.actor")})
        assert "has no network that chooses actions" in refusal("export", "dense")

    @pytest.mark.parametrize("outputs", [1, 3, 4])
    def test_an_actor_with_other_outputs(self, dense: RunFiles, outputs: int) -> None:
        last = {"kernel": np.ones((64, outputs), np.float32), "bias": np.ones(outputs, np.float32)}
        rewrite(dense, lambda arrays: arrays | {f"params.actor.layer_2.{leaf}": array for leaf, array in last.items()})
        assert (
            f"its actor has 3 inputs and {outputs} outputs, but observations have 3 entries and actions 1"
            in refusal("export", "dense")
        )

    def test_another_agents_mask(self, ticket: RunFiles) -> None:
        rewrite(ticket, lambda arrays: arrays, {"layer_0": np.ones((3, 64), bool)})
        assert "mask.pkl doesn't belong to the agent" in refusal("export", "magnitude")

    def test_weights_that_do_not_keep_to_the_mask(self, ticket: RunFiles) -> None:
        rewrite(ticket, lambda arrays: arrays | {"params.actor.layer_1.kernel": np.ones((64, 64), np.float32)})
        assert "doesn't match its mask" in refusal("export", "magnitude")

    @pytest.mark.parametrize(
        ("task", "said"),
        [("Pendlum-v1", "Did you mean Pendulum-v1"), ("nosuchmodule:Foo-v0", "nosuchmodule"), ("Ant-v5", "Ant-v5")],
    )
    def test_a_task_that_is_not_here_or_another_by_now(self, ticket: RunFiles, task: str, said: str) -> None:
        change_manifest(ticket, fingerprint={"sac": {}, "task": {"id": task, "kwargs": {}}})
        forget_spaces(ticket)
        assert said in refusal("export", "magnitude", "--trust")


class TestWriting:
    def test_an_existing_file_is_left_alone(self, runs: Path) -> None:
        Path("policy.npz").write_text("mine")
        assert "policy.npz already exists and was not changed" in refusal(
            "export", runs / "dense", "--to", "policy.npz"
        )

    def test_a_folder_is_no_file(self, runs: Path) -> None:
        Path("here").mkdir()
        assert "here already exists" in refusal("export", runs / "dense", "--to", "here")

    def test_below_a_file(self, runs: Path) -> None:
        Path("file").write_text("text")
        for name in ("file/policy.npz", "file/a/policy.npz"):
            assert f"{name} can't be written: file is not a folder" in refusal("export", runs / "dense", "--to", name)

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that refuses everyone")
    def test_where_nothing_can_be_written(self, runs: Path) -> None:
        assert "can't be written" in refusal("export", runs / "dense", "--to", "/proc/policy.npz")

    def test_a_full_disk_leaves_nothing(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("rlottery.storage.disk.os.fsync", full)
        assert "No space left on device" in refusal("export", runs / "dense", "--to", "policy.npz")
