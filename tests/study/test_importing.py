"""Importing an agent into a study, with the small agent of Stable-Baselines3 in tests/fixtures/sb3."""

import base64
import inspect
import io
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import yaml

import rlottery
from rlottery.cli import import_
from rlottery.config import load_config
from rlottery.interop.read_agent import AgentFile
from rlottery.interop.weights_file import read_weights
from rlottery.report.collect import collect
from rlottery.storage.manifests import is_from_seed, read_manifest, write_manifest
from rlottery.storage.paths import RunFiles, Store
from tests.command import call, refusal
from tests.study.execution.in_process import train_in_this_process
from tests.study.studies import contents

FILES = Path(__file__).parent.parent / "fixtures" / "sb3"
AGENT, INITIAL, REPLAY = FILES / "agent.zip", FILES / "initial.zip", FILES / "replay.pkl"
TASK = ("--task", "Pendulum-v1")
QUICK = ("evaluation.episodes=1", "evaluation.untrained_policies=2", "pruning.controls=[]", "pruning.sparsity=0.5",
         "evaluation.interval=250", "pruning.num_gradient_batches=2")  # fmt: skip
DENSE = Path("data/runs/Pendulum-v1/seed_0/dense")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train_in_this_process(monkeypatch)
    monkeypatch.setattr("rlottery.report.files.write_report", lambda *_: [])


def imported(*arguments: str | Path, agent: Path = AGENT) -> str:
    code, output, message = call("import", agent, *arguments)
    assert code == 0, message
    return output


def changed(tmp_path: Path, change: Callable[[dict[str, bytes]], object], source: Path = AGENT) -> Path:
    """A copy of an archive with some of its files changed."""
    with zipfile.ZipFile(source) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def with_settings(**settings: Any) -> Callable[[dict[str, bytes]], object]:
    def change(files: dict[str, bytes]) -> None:
        files["data"] = json.dumps({**json.loads(files["data"]), **settings}).encode()

    return change


def test_the_imported_agent_acts_like_the_original() -> None:
    imported(*TASK, *QUICK)
    with np.load(FILES / "acted.npz") as acted:
        actions = rlottery.load_agent(DENSE)(acted["observations"])
        assert np.abs(actions - acted["actions"]).max() <= 1e-5 and np.ptp(actions) > 0.01


def test_from_one_file_to_a_study_that_goes_on() -> None:
    output = imported("--initial", INITIAL, "--replay", REPLAY, *TASK, *QUICK)
    assert "Next: rlottery run config.yaml" in output and "Data: 250 transitions, from its replay buffer" in output
    before = contents(DENSE)
    for method in ("magnitude", "gradient"):
        code, output, message = call("run", "--pruning-method", method)
        assert code == 0, output + message
        assert "1 of 2 runs is already done" in output or "2 of 3 runs are already done" in output
    assert contents(DENSE) == before
    assert {path.name for path in DENSE.parent.iterdir()} == {"dense", "magnitude-50", "taylor-50-2x256"}
    assert "imported from agent.zip, Stable-Baselines3 2.9.2" in call("status")[1]
    assert call("verify")[0] == 0 and call("verify", "data")[0] == 0
    assert call("export", DENSE)[0] == 0


def test_the_manifest_says_where_the_agent_comes_from() -> None:
    imported("--initial", INITIAL, "--replay", REPLAY, *TASK, *QUICK)
    manifest = read_manifest(RunFiles(DENSE))
    assert manifest is not None and manifest["env_steps"] == 250
    recorded = manifest["imported"]
    for name, file in (("agent", AGENT), ("initial", INITIAL), ("replay", REPLAY)):
        source = recorded[name]  # type: ignore[literal-required]
        assert (source["file"], source["sha256"]) == (file.name, rlottery.storage.disk.file_digest(file))
    assert len({recorded[name]["content"] for name in ("agent", "initial", "replay")}) == 3  # type: ignore[literal-required]
    assert recorded["library"] == "Stable-Baselines3 2.9.2"


def test_without_initial_weights_nothing_is_claimed_about_tickets() -> None:
    assert "no evidence about lottery tickets" in imported(*TASK, *QUICK)
    assert call("run")[0] == 0
    assert "tickets are fine-tuned" in call("status")[1]
    _, output, _ = call("report")
    assert "This is fine-tuning, and no test of lottery tickets." in " ".join(output.split())
    initial, agent = (rlottery.storage.disk.read_arrays(DENSE / f"{n}.safetensors") for n in ("initial", "agent"))
    assert all((agent[f"params.{name}"] == array).all() for name, array in initial.items())


def test_without_replay_only_criteria_of_weights_work_and_it_can_be_added() -> None:
    imported("--initial", INITIAL, *TASK, *QUICK)
    message = refusal("run", "--pruning-method", "gradient")
    assert "Replay buffer not found" in message and "with --replay FILE" in message and "--collect STEPS" in message
    assert call("run")[0] == 0
    (DENSE / "tracking").mkdir(exist_ok=True)
    (DENSE / "tracking" / "wandb.json").write_text("{}")
    assert call("import", AGENT, "--initial", INITIAL, "--replay", REPLAY, *TASK)[0] == 0
    assert (DENSE / "tracking" / "wandb.json").read_text() == "{}"
    code, output, message = call("run", "--pruning-method", "gradient")
    assert code == 0, output + message
    assert "with other data" in refusal("import", AGENT, "--initial", INITIAL, "--collect", "300", *TASK)


def test_data_is_collected_with_the_agent() -> None:
    assert "Data: 300 transitions, collected with the agent" in imported("--collect", "300", *TASK, *QUICK)
    replay = {path.stem: np.load(path) for path in (DENSE / "replay").iterdir()}
    # Transition t of the run is in row t modulo their number: it began at 0 modulo 50 of the 250th step.
    order = np.roll(np.arange(300), -250)
    follows = (replay["observations"][order][1:] == replay["next_observations"][order][:-1]).all(axis=1)
    assert np.flatnonzero(~follows).tolist() == [199]  # an episode of Pendulum-v1 has 200 steps
    assert call("run", "--pruning-method", "gradient")[0] == 0


def test_a_minari_dataset_is_read_as_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    imported("--to", "first", "--replay", REPLAY, *TASK, *QUICK)
    name, again = "rlottery/pendulum/sac-v0", Path("second") / DENSE
    code, _, message = call("export", Path("first") / DENSE, "--format", "minari", "--to", name)
    assert code == 0, message
    imported("--to", "second", "--replay", f"minari:{name}", *TASK, *QUICK)
    for field in ("observations", "rewards", "terminations"):
        stored = [np.load(folder / "replay" / f"{field}.npy") for folder in (Path("first") / DENSE, again)]
        np.testing.assert_array_equal(*stored)
    assert "no dataset rlottery/x-v0" in refusal("import", AGENT, "--replay", "minari:rlottery/x-v0", *TASK)


def test_importing_again_changes_nothing() -> None:
    imported("--initial", INITIAL, *TASK, *QUICK)
    before = contents(Path())
    assert "Nothing was changed" in imported("--initial", INITIAL)
    assert contents(Path()) == before


@pytest.mark.parametrize("function", ["write_manifest", "_put_in_place"])
def test_an_import_that_is_interrupted_leaves_no_config_without_a_run(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt(*arguments: str | Path) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(f"rlottery.study.stages.imported_run.{function}", interrupted)
            assert call("import", *arguments)[0] != 0

    interrupt(AGENT, *TASK, *QUICK)
    assert not Path("config.yaml").exists() and not DENSE.exists()
    imported(*TASK, *QUICK)
    text, before = Path("config.yaml").read_text(), contents(DENSE)
    interrupt(changed(tmp_path, with_settings(seed=3)), *TASK)
    assert Path("config.yaml").read_text() == text and contents(DENSE) == before
    assert not (DENSE.parent.parent / "seed_3" / "dense").exists()
    assert load_config(Path("config.yaml")).seeds == (0,)
    imported(*TASK, agent=tmp_path / "changed.zip")
    assert load_config(Path("config.yaml")).seeds == (0, 3)


def test_an_import_that_is_killed_before_it_writes_the_config_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(error: BaseException, *arguments: str | Path) -> None:
        def write(path: Path, data: bytes) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr("rlottery.study.stages.imported_run.write_bytes", write)
            assert call("import", *arguments)[0] != 0

    stop(OSError(28, "No space left on device"), AGENT, *TASK, *QUICK)
    assert not DENSE.exists() and not Path("config.yaml").exists()
    stop(KeyboardInterrupt(), AGENT, *TASK, *QUICK)  # nothing is undone, as after a kill
    before = contents(DENSE)
    assert before and not Path("config.yaml").exists()
    other = changed(tmp_path, with_settings(seed=3))
    assert "has runs already, but config.yaml is missing" in refusal("import", other, *TASK, *QUICK)
    assert "config.yaml was written" in imported(*TASK, *QUICK)
    assert load_config(Path("config.yaml")).seeds == (0,) and call("status")[0] == 0
    stop(KeyboardInterrupt(), other, *TASK)
    assert load_config(Path("config.yaml")).seeds == (0,) and "1 of 2 runs done" in call("status")[1]
    assert "Its seed was added" in imported(*TASK, agent=other)
    assert load_config(Path("config.yaml")).seeds == (0, 3) and contents(DENSE) == before


def meanwhile(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """Let another import run while the next one evaluates its agent."""
    from rlottery.study.stages import imported_run

    evaluate = imported_run.make_imported_run

    def after_the_other(*given: Any) -> Any:
        monkeypatch.setattr(imported_run, "make_imported_run", evaluate)
        assert call("import", *arguments)[0] == 0
        return evaluate(*given)

    monkeypatch.setattr(imported_run, "make_imported_run", after_the_other)


def test_imports_at_the_same_time_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    third, fourth, fifth = (changed(tmp_path / str(seed), with_settings(seed=seed)) for seed in (3, 4, 5))
    meanwhile(monkeypatch, third, *TASK, *QUICK)
    code, _, message = call("import", AGENT, *TASK, *QUICK)
    assert code == 2 and "Another command has made config.yaml meanwhile" in message
    assert load_config(Path("config.yaml")).seeds == (3,) and not DENSE.exists()
    meanwhile(monkeypatch, fourth, *TASK)
    imported(*TASK)
    assert load_config(Path("config.yaml")).seeds == (3, 4, 0)
    taken = DENSE.parent.parent / "seed_9" / "dense"
    meanwhile(monkeypatch, fifth, *TASK, "--seed", "9")
    code, _, message = call("import", changed(tmp_path / "6", with_settings(seed=6)), *TASK, "--seed", "9")
    assert code == 2 and f"{taken} has another agent" in message
    manifest = read_manifest(RunFiles(taken))
    assert manifest is not None
    assert manifest["imported"]["agent"]["sha256"] == rlottery.storage.disk.file_digest(fifth)


def test_the_same_agent_with_other_statistics_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(file: AgentFile, path: Path) -> AgentFile:
        arrays = {**file.agent.arrays, "log_temperature": np.array(float(path.name), np.float32)}
        return replace(file, agent=replace(file.agent, arrays=arrays))

    monkeypatch.setattr("rlottery.study.importing.normalised", shifted)
    imported(*TASK, *QUICK, "--normalisation", "1")
    assert "Nothing was changed" in imported(*TASK, "--normalisation", "1")
    assert "other statistics (--normalisation)" in refusal("import", AGENT, *TASK, "--normalisation", "2")


def test_the_trained_agent_is_not_its_own_initial_one() -> None:
    assert "has the same weights as" in refusal("import", AGENT, "--initial", AGENT, *TASK)
    assert not Path("config.yaml").exists()


def test_a_file_of_initial_weights_may_have_any_name() -> None:
    made = {"seed": 3, "by": "torch 2", "correlation": 0.9}
    source = {"file": "seed 3.zip", "sha256": "a", "content": "b"}
    assert not is_from_seed({"initial": source, "reconstructed": made})
    assert is_from_seed({"initial": {**source, "sha256": "b"}, "reconstructed": made})
    assert not is_from_seed({"initial": {**source, "sha256": "b"}}) and not is_from_seed({})


def test_a_study_may_be_in_a_folder_of_any_name() -> None:
    folder = Path("a: b # 😀")
    imported("--to", folder, *TASK, *QUICK)
    assert "1 of 2 runs done" in call("status", folder)[1]
    assert "Nothing was changed" in imported("--to", folder)


def test_a_replay_is_read_before_the_task_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(*_: object) -> None:
        raise AssertionError("the task was tried")

    monkeypatch.setattr("rlottery.study.importing.try_tasks", tried)
    assert "can't be read as a replay buffer" in refusal("import", AGENT, "--replay", AGENT, *TASK)
    assert "exclude each other" in refusal("import", AGENT, "--replay", REPLAY, "--collect", "10", *TASK)


def test_an_agent_that_was_saved_again_is_the_same_agent(tmp_path: Path) -> None:
    imported("--initial", INITIAL, "--replay", REPLAY, *TASK, *QUICK)
    again = changed(tmp_path, with_settings(verbose=1))  # which nothing here depends on
    assert again.read_bytes() != AGENT.read_bytes()
    initial = changed(tmp_path / "initial", with_settings(verbose=1), INITIAL)
    assert "Nothing was changed" in imported("--initial", initial, "--replay", REPLAY, agent=again)
    assert "it would count twice" in refusal("import", again, "--initial", initial, "--seed", "1")


def test_an_import_of_an_earlier_version_knows_its_agent(tmp_path: Path) -> None:
    """It recorded checksums of files alone."""
    imported("--initial", INITIAL, *TASK, *QUICK)
    manifest = read_manifest(RunFiles(DENSE))
    assert manifest is not None
    for name in ("agent", "initial"):
        del manifest["imported"][name]["content"]  # type: ignore[literal-required]
    write_manifest(RunFiles(DENSE), manifest)
    assert "Nothing was changed" in imported("--initial", INITIAL)
    again = changed(tmp_path, with_settings(verbose=1))
    assert "Nothing was changed" in imported("--initial", INITIAL, agent=again)
    assert "it would count twice" in refusal("import", again, "--initial", INITIAL, "--seed", "1")
    imported("--initial", INITIAL, "--replay", REPLAY, agent=again)
    assert call("status")[0] == 0 and call("verify")[0] == 0


def test_the_status_lists_what_is_to_do_and_finds_the_data(tmp_path: Path) -> None:
    imported("--to", "study", "--initial", INITIAL, *TASK, *QUICK)
    for given in ("study", "study/config.yaml"):
        code, output, message = call("status", given)
        assert code == 0 and "1 of 2 runs done" in output and "magnitude-50" in output, output + message
    Path("data/runs").mkdir(parents=True)  # of another study
    assert "1 of 2 runs done" in call("status", "study")[1]


def test_the_function_does_what_the_command_does() -> None:
    command = set(inspect.signature(import_).parameters)
    function = set(inspect.signature(rlottery.import_agent).parameters)
    assert function - command == {"say"} and command <= function
    made = rlottery.import_agent(str(AGENT), QUICK, task="Pendulum-v1", initial=INITIAL, to="study")
    assert made.folder == Path("study") / DENSE and made.config == Path("study/config.yaml")
    assert "Initial weights: initial.zip" in str(made)
    assert load_config(made.config).evaluation.episodes == 1
    with pytest.raises(rlottery.RlotteryError, match="--task is missing"):
        rlottery.import_agent(AGENT, to="other")


def test_nothing_is_executed_unless_it_is_allowed(tmp_path: Path) -> None:
    file = replay_with(tmp_path, extra=executing(tmp_path))
    message = refusal("import", AGENT, "--replay", file, *TASK)
    assert "--library-python PYTHON" in message and not (tmp_path / "executed").exists()
    assert "--library-python PYTHON" in refusal("import", AGENT, "--initial-from-seed", *TASK)
    assert "no such program" in refusal("import", AGENT, "--library-python", "no/python", *TASK)


def test_a_run_that_the_seeds_lack_is_added_to_them() -> None:
    imported(*TASK, *QUICK)
    text = Path("config.yaml").read_text()
    Path("config.yaml").write_text(text.replace("seeds: [0]", "seeds: [1]"))
    assert "Its seed was added to config.yaml" in imported(*TASK)
    assert load_config(Path("config.yaml")).seeds == (1, 0)


def test_another_seed_is_another_run_of_the_study(tmp_path: Path) -> None:
    imported(*TASK, *QUICK)
    imported(*TASK, agent=changed(tmp_path, with_settings(seed=3)))
    assert load_config(Path("config.yaml")).seeds == (0, 3)
    code, output, message = call("run")
    assert code == 0 and "2 of 4 runs are already done" in output, output + message


def test_one_agent_cant_be_two_seeds() -> None:
    imported(*TASK, *QUICK)
    assert f"{DENSE} has this agent already" in refusal("import", AGENT, "--seed", "1")
    assert load_config(Path("config.yaml")).seeds == (0,) and len(list(DENSE.parent.parent.iterdir())) == 1


def test_an_agent_whose_file_has_only_weights_needs_its_steps(tmp_path: Path) -> None:
    sizes = {"q.0": (4, 8), "q.1": (8, 2)}
    tensors = {f"{name}.weight": np.ones(shape, np.float32) for name, shape in sizes.items()}
    tensors |= {f"{name}.bias": np.ones(shape[1], np.float32) for name, shape in sizes.items()}
    safetensors.numpy.save_file(tensors, tmp_path / "weights.safetensors")
    mapping = "algorithm: dqn\nactivation: relu\nnetworks: {q: [q.0, q.1]}\naxes: in_out\n"
    (tmp_path / "mapping.yaml").write_text(mapping)
    given = (tmp_path / "weights.safetensors", "--mapping", tmp_path / "mapping.yaml", "--task", "CartPole-v1")
    assert "how long the agent was trained" in refusal("import", *given)
    assert not Path("config.yaml").exists()
    imported(*given[1:], "training.env_steps=30_000", "evaluation.episodes=1", agent=given[0])
    assert load_config(Path("config.yaml")).training.env_steps == 30_000
    assert "import into another folder" in refusal("import", *given, "training.env_steps=50_000")


def test_a_study_in_a_folder_of_its_own(tmp_path: Path) -> None:
    output = imported("--to", "my study", *TASK, *QUICK)
    assert "Next: cd 'my study' && rlottery run config.yaml" in output
    imported("--to", "my study", agent=changed(tmp_path, with_settings(seed=1)))
    assert {path.name for path in Path("my study").iterdir()} == {"config.yaml", "data"}
    assert len(list(Path("my study/data/runs/Pendulum-v1").iterdir())) == 2


def test_an_existing_study_gets_the_run() -> None:
    imported("--to", "first", *TASK, *QUICK)
    shutil.copy("first/config.yaml", "study.yaml")
    imported("--study", "study.yaml")
    assert (DENSE / "manifest.json").exists() and call("status", "study.yaml")[0] == 0


def test_a_contradiction_with_the_study_is_refused() -> None:
    imported(*TASK, *QUICK)
    config = yaml.safe_load(Path("config.yaml").read_text())
    config["sac"]["discount"], config["network"]["critic"] = 0.9, [8]
    Path("other.yaml").write_text(yaml.safe_dump(config))
    message = refusal("import", AGENT, "--study", "other.yaml", "--seed", "1")
    assert "sac.discount: the agent has 0.99, the config 0.9" in message
    assert "network.critic: the agent has [8, 8], the config [8]" in message
    Path("dqn.yaml").write_text("tasks: [CartPole-v1]\nseeds: [0]\nalgorithm: dqn\n")
    assert "the agent has sac, the config dqn" in refusal("import", AGENT, "--study", "dqn.yaml")


def test_a_run_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    imported(*TASK, *QUICK)
    other = changed(tmp_path, with_settings(num_timesteps=250), INITIAL)
    assert "has another agent, imported from agent.zip" in refusal("import", other, *TASK)
    assert "with other initial weights" in refusal("import", AGENT, "--initial", INITIAL, *TASK)


def test_damage_is_repaired_by_importing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    imported("--initial", INITIAL, *TASK, *QUICK)
    before = (DENSE / "agent.safetensors").read_bytes()
    (DENSE / "agent.safetensors").write_bytes(before[:-1] + b"x")
    assert "Import it again" in refusal("run")
    code, output, _ = call("verify")
    assert code == 1 and "Import the agent again" in output

    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # killed after some of the files are replaced
        patched.setattr("rlottery.study.stages.imported_run.sync_folder", interrupted)
        assert call("import", AGENT, "--initial", INITIAL)[0] != 0
    assert {path.name for path in DENSE.iterdir()} >= {"manifest.json", "agent.safetensors", "initial.safetensors"}
    imported("--initial", INITIAL)
    assert (DENSE / "agent.safetensors").read_bytes() == before and call("verify")[0] == 0


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_without_its_manifest_it_is_not_trained_but_imported_again(how: str) -> None:
    imported("--initial", INITIAL, *TASK, *QUICK)
    manifest = DENSE / "manifest.json"
    before, arrays = json.loads(manifest.read_text()), (DENSE / "agent.safetensors").read_bytes()
    if how == "missing":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace("Stable-Baselines3", "Stable-Baselines4"))
    said = "manifest.json is damaged: it.* The agent was imported from agent.zip and can't be trained again"
    assert re.search(said, refusal("run")) and re.search(said, refusal("run", "--stages", "mask,ticket"))
    for command in ("verify", "status", "report"):
        assert "mport the agent again" in " ".join(call(command)[1].split())
    assert "Import the agent again" in refusal("export", str(DENSE), "--to", "e.npz")
    (missing,) = [line for line in collect(Store(Path("data")), load_config("config.yaml")).missing if "dense" in line]
    assert "unreadable: " in missing and "Import the agent again" in missing
    assert "has this agent already, and it would count twice" in refusal("import", AGENT, "--seed", "9")
    assert "aren't those of this agent and its initial weights" in refusal("import", AGENT)
    imported("--initial", INITIAL)
    after = json.loads(manifest.read_text())
    assert after["imported"] == before["imported"] and (DENSE / "agent.safetensors").read_bytes() == arrays
    assert call("verify")[0] == 0


def test_data_for_criteria_are_not_lost_when_a_run_is_repaired() -> None:
    imported(*TASK, *QUICK, "--collect", "40")
    replay = {path.name: path.read_bytes() for path in (DENSE / "replay").iterdir()}
    (DENSE / "manifest.json").unlink()
    assert "would delete them. Give them as before: --collect 40." in refusal("import", AGENT)
    assert replay == {path.name: path.read_bytes() for path in (DENSE / "replay").iterdir()}
    imported("--collect", "40")
    assert call("verify")[0] == 0 and (DENSE / "replay").exists()
    (DENSE / "agent.safetensors").write_bytes(b"")
    assert "would delete them" in refusal("import", AGENT)


def test_the_record_of_an_imported_agent_is_checked_and_made_for_earlier_imports() -> None:
    imported("--initial", INITIAL, *TASK, *QUICK)
    (DENSE / "imported.json").write_text("{}")
    assert "imported.json" in refusal("run")
    imported("--initial", INITIAL)
    before = json.loads((DENSE / "imported.json").read_text())
    manifest = read_manifest(RunFiles(DENSE))  # as of an earlier version, which wrote no such record
    assert manifest is not None and manifest["files"].pop("imported.json")
    write_manifest(RunFiles(DENSE), manifest)
    (DENSE / "imported.json").unlink()
    assert call("verify")[0] == 0
    imported("--initial", INITIAL)
    assert json.loads((DENSE / "imported.json").read_text()) == before


def test_it_cant_be_rewound_to_a_step_that_nobody_saved() -> None:
    more = ("training.warmup_steps=10", "evaluation.interval=50")
    imported("--initial", INITIAL, *TASK, *QUICK, *more)
    text = Path("config.yaml").read_text()
    start, end = text.index("\npruning:"), text.index("\nnetwork:")
    arms = "\narms: [{criterion: magnitude, sparsity: 0.5, rewind: {step: 100}}]\n"
    Path("config.yaml").write_text(text[:start] + arms + text[end:])
    assert (
        "no agent at step 100 of its training is known. Arms can be rewound to its initial weights, `rewind: initial`"
        in refusal("run")
    )


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


def serialized(value: object) -> dict[str, str]:
    return {":serialized:": base64.b64encode(pickle.dumps(value)).decode()}


def executing(tmp_path: Path) -> Calls:
    return Calls(Path.touch, tmp_path / "executed")


ELU = base64.b64encode(b"\x80\x02}X\x0d\0\0\0activation_fnctorch.nn.modules.activation\nELU\ns.").decode()
TANH_NAME = base64.b64encode(b"\x80\x02ctorch.nn.modules.activation\nTanh\n.").decode()
BOX = base64.b64encode(b"\x80\x02cgymnasium.spaces.box\nBox\n)\x81}X\x06\0\0\0_shapeX\x01\0\0\0x\x85sb.").decode()
REFUSED: Mapping[str, tuple[Callable[[Path], Callable[[dict[str, bytes]], object]], str]] = {
    "no settings": (lambda at: lambda files: files.pop("data"), "no settings of an agent"),
    "settings that are no JSON": (lambda at: lambda files: files.update(data=b"{"), "no settings of an agent"),
    "settings that are a list": (lambda at: lambda files: files.update(data=b"[1]"), "no settings of an agent"),
    "no weights": (lambda at: lambda files: files.pop("policy.pth"), "'policy.pth' is missing"),
    "weights of nothing": (lambda at: lambda files: files.update({"policy.pth": b"x"}), "not a file of torch.save"),
    "a policy that executes": (lambda at: with_settings(policy_class=serialized(executing(at))), "was not executed"),
    "a space that executes": (lambda at: with_settings(observation_space=serialized(executing(at))), "not executed"),
    "another policy": (lambda at: with_settings(policy_class="x"), "doesn't say what policy"),
    "elu": (lambda at: with_settings(policy_kwargs={":serialized:": ELU}), "hidden layers have ELU, and those of"),
    "state-dependent noise": (lambda at: with_settings(use_sde=True), "state-dependent noise"),
    "no training": (lambda at: with_settings(num_timesteps=0), "was not trained yet"),
    "no discount below 1": (lambda at: with_settings(gamma=1.0), "sac.discount: must be"),
    "a learning rate that is no number": (lambda at: with_settings(tau=-1), "sac.polyak: must be"),
    "environments that are no number": (lambda at: with_settings(n_envs="x"), "training.environments"),
    "a warm-up that is no number": (lambda at: with_settings(learning_starts="x"), "training.warmup_steps"),
    "a setting that is an object": (lambda at: with_settings(tau={":serialized:": TANH_NAME}), "can't be read"),
    "a space of words": (lambda at: with_settings(observation_space={":serialized:": BOX}), "settings or its weights"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_no_agent_for_here_is_refused(what: str, tmp_path: Path) -> None:
    change, why = REFUSED[what]
    file = changed(tmp_path, change(tmp_path))
    message = refusal("import", file, *TASK)
    assert str(file) in message
    assert why in message
    assert not (tmp_path / "executed").exists() and not Path("data").exists()


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    nothing, noise, cut = tmp_path / "nothing.zip", tmp_path / "noise.zip", tmp_path / "cut.zip"
    noise.write_bytes(b"\0an agent")
    cut.write_bytes(AGENT.read_bytes()[:-30])
    assert "No such file" in refusal("import", nothing, *TASK)
    for file in (noise, cut):
        message = refusal("import", file, *TASK)
        assert "not a ZIP file" in message and 'model.save("agent.zip")' in message and "torch" not in message
    message = refusal("import", tmp_path, *TASK)
    assert "not a regular file" in message and 'model.save("agent.zip")' in message


def test_a_file_of_another_kind_is_named_wherever_one_is_given(tmp_path: Path) -> None:
    image, empty, tensors = tmp_path / "a.png", tmp_path / "agent.zip", tmp_path / "a.safetensors"
    image.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    empty.touch()
    safetensors.numpy.save_file({"w": np.zeros(2, np.float32)}, tensors)
    assert "isn't an agent, but a PNG image. Give what Stable-Baselines3" in refusal("import", image, *TASK)
    assert "isn't an agent, but an empty file. Give what Stable-Baselines3" in refusal("import", empty, *TASK)
    assert "it isn't known what its layers are for: w. Give a mapping" in refusal("import", tensors, *TASK)
    for file, kind in (
        (image, "a PNG image"),
        (AGENT, "a ZIP archive"),
        (empty, "an empty file"),
        (tmp_path, "a folder"),
    ):
        message = refusal("import", AGENT, "--replay", file, *TASK)
        assert f"it is {kind}. Give what Stable-Baselines3 saved, model.save_replay_buffer" in message
    assert "a.png: this is a PNG image, not a file of results. Give a CSV" in refusal("compare", "--csv", image)
    assert "Of ZIP archives, only evaluations.npz" in refusal("compare", "--csv", AGENT)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("train.py", "import gymnasium\n\x0c\tprint('é')\n", "isn't an agent, but a Python script. Run it first"),
        ("config.yaml", "tasks: [Pendulum-v1]\n", "isn't an agent, but a text file."),
        ("agent.zip", "version https://git-lfs.github.com/spec/v1\n", "isn't an agent, but a text file."),
        ("agent.safetensors", "é" * 5_000, "isn't an agent, but a text file."),
        ("agent.pth", "a" + "é" * 5_000, "isn't an agent, but a text file."),  # its 4,096th byte is half of a letter
        ("notes.txt", "It learned at last.", "isn't an agent, but a text file."),
        ("agent.pkl", pickle.dumps({"a": [0.5, "b"]}, 0).decode(), "can't be imported: it is not a file of torch.save"),
        ("agent", pickle.dumps(np.zeros(3), 0).decode(), "can't be imported: it is not a file of torch.save"),
        ("agent.onnx", "\x08\x07\x12\0", "can't be imported: it is not a file of torch.save"),
    ],
)
def test_a_file_that_is_no_agent_at_all_gets_the_names_of_those_that_are(
    name: str, content: str, what: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    message = refusal("import", tmp_path / name, *TASK)
    assert f"{name} {what}" in message
    for form in ('model.save("agent.zip")', "agent.cleanrl_model", "--mapping"):
        assert form in message
    assert ("A replay buffer is given with --replay FILE." in message) == (name in ("agent.pkl", "agent"))


@pytest.mark.parametrize("option", ["--seed", "--collect"])
@pytest.mark.parametrize("value", ["abc", "1.5", "-1", "", "1e3", "-" + "9" * 19])
def test_a_number_that_is_none_is_refused_by_name(option: str, value: str) -> None:
    code, _, message = call("import", AGENT, *TASK, f"{option}={value}")
    assert code == 2 and not Path("data").exists()
    message = " ".join(message.replace("│", " ").split())
    assert f"'{option}': must be a whole number of at least 0, not {value!r}" in message


@pytest.mark.parametrize("value", ["9" * 19, "+" + "0" * 30])
def test_a_number_with_too_many_digits_is_refused_for_that(value: str) -> None:
    message = " ".join(call("import", AGENT, *TASK, f"--seed={value}")[2].replace("│", " ").split())
    assert f"'--seed': must be a whole number of at most 18 digits, not '{value}'" in message


def test_a_mapping_is_for_files_of_weights() -> None:
    Path("mapping.yaml").write_text("")
    given = (AGENT, *TASK, "--mapping", "mapping.yaml")
    assert "mapping.yaml: it has no keys; docs/import-libraries.md has an example" in refusal("import", *given)
    Path("mapping.yaml").write_text("algorithm: sac\nactivation: relu\nnetworks: {}\n")
    assert "needs no mapping: leave out --mapping" in refusal("import", *given)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlottery.interop.sb3_archive.MOST_BYTES", 2**20)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", bytes(2**20 + 1))
    assert "more than 1,048,576 bytes" in refusal("import", bomb, *TASK)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("CartPole-v1", "Give the task that the agent was trained on"),
        ("Pendulum-v9", "Pendulum-v9"),
        ("MountainCarContinuous-v0", "doesn't fit MountainCarContinuous-v0: it reads 3 observations"),
    ],
)
def test_another_task_is_refused(task: str, why: str) -> None:
    assert why in refusal("import", AGENT, "--task", task)


class ReplayBuffer:
    """Is pickled as the library's."""


def replay_with(tmp_path: Path, **state: Any) -> Path:
    """A replay buffer as the library pickles it, with some of its attributes changed."""
    shapes = {"observations": 3, "next_observations": 3, "actions": 1}
    buffer = ReplayBuffer()
    vars(buffer).update({"buffer_size": 10, "pos": 4, "full": False})
    vars(buffer).update({name: np.zeros((10, 1, entries), np.float32) for name, entries in shapes.items()})
    vars(buffer).update({name: np.zeros((10, 1), np.float32) for name in ("rewards", "dones", "timeouts")})
    vars(buffer).update(state)
    own, theirs = (f"\x8c{chr(len(name))}{name}".encode("latin1") for name in (__name__, LIBRARY))
    data = pickle.dumps(buffer, 4)
    assert own in data
    path = tmp_path / "replay.pkl"
    path.write_bytes(data.replace(own, theirs))
    return path


LIBRARY = "stable_baselines3.common.buffers"
REPLAYS: Mapping[str, tuple[dict[str, Any], str]] = {
    "another space": ({"observations": np.zeros((10, 1, 4), np.float32)}, "observations have 4 entries"),
    "images": ({"observations": np.zeros((10, 1, 8, 8, 3), np.uint8)}, "isn't that of flat observations"),
    "nothing": ({"pos": 0}, "it is empty"),
    "a place beyond its end": ({"pos": 11}, "how full it is"),
    "NaN": ({"rewards": np.full((10, 1), np.nan, np.float32)}, "not finite"),
    "actions that are not scaled": ({"actions": np.full((10, 1, 1), 2, np.float32)}, "outside of [-1, 1]"),
    "objects": ({"rewards": np.array([[None]] * 10)}, "no array of numbers"),
    "a dict": ({"observations": {"a": 1}}, "no array of numbers"),
    "more rewards": ({"rewards": np.zeros((9, 1), np.float32)}, "rewards have the shape (9, 1)"),
}


@pytest.mark.parametrize("what", REPLAYS)
def test_another_replay_is_refused(what: str, tmp_path: Path) -> None:
    state, why = REPLAYS[what]
    file = replay_with(tmp_path, **state)
    message = refusal("import", AGENT, "--replay", file, *TASK)
    assert why in message and str(file) in message


def test_a_replay_that_would_execute_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "replay.pkl"
    file.write_bytes(pickle.dumps({"observations": executing(tmp_path)}))
    message = refusal("import", AGENT, "--replay", file, *TASK)
    assert "names 'pathlib" in message and "was not executed" in message and not (tmp_path / "executed").exists()
    pickle.load(io.BytesIO(file.read_bytes()))
    assert (tmp_path / "executed").exists()  # with an ordinary loader, it runs


def test_options_that_contradict_each_other_are_refused() -> None:
    assert "--task is missing" in refusal("import", AGENT)
    assert "exclude each other" in refusal("import", AGENT, *TASK, "--replay", REPLAY, "--collect", "10")
    assert f"{AGENT} has an agent of SAC, not of TD3" in refusal("import", AGENT, *TASK, "--algorithm", "td3")
    assert "Choose from: sac, td3, dqn, ppo." in refusal("import", AGENT, *TASK, "--algorithm", "a2c")
    assert "only agents of PPO" in refusal("import", AGENT, *TASK, "--normalisation", REPLAY)
    assert "unknown key" in refusal("import", AGENT, *TASK, "sac.rate=1")
    for override, why in (
        ("data=other", "data can't be set here, because it is given by --to"),
        ("seeds=[5]", "given by --seed"),
        ("tasks=[CartPole-v1]", "given by --task"),
        ("algorithm=td3", "given by the agent"),
        ("network.actor=[5]", "given by the agent"),
        ("training=5", "Set its keys"),
        ("evaluation=5", "Set its keys"),
    ):
        assert why in refusal("import", AGENT, *TASK, override)


def test_a_small_replay_buffer_is_as_small_here(tmp_path: Path) -> None:
    imported(*TASK, *QUICK, agent=changed(tmp_path, with_settings(buffer_size=100)))
    assert load_config(Path("config.yaml")).training.capacity == 100


def test_settings_that_cleanrl_keeps_in_its_code(tmp_path: Path) -> None:
    sizes = {"0.fc1": (3, 8), "0.fc2": (8, 8), "0.fc_mean": (8, 1), "0.fc_logstd": (8, 1)}
    sizes |= {f"{part}.{name}": of for part in "12" for name, of in (("fc1", (4, 8)), ("fc2", (8, 8)), ("fc3", (8, 1)))}
    tensors = {f"{name}.weight": np.full(of[::-1], 0.1, np.float32) for name, of in sizes.items()}
    tensors |= {f"{name}.bias": np.zeros(of[1], np.float32) for name, of in sizes.items()}
    tensors |= {"0.action_scale": np.full(1, 1.9999998, np.float32), "0.action_bias": np.zeros(1, np.float32)}
    data = safetensors.numpy.save(tensors)
    agent = read_weights(tmp_path / "gone.safetensors", data, None)  # whose content is read only once
    assert agent.settings["sac"] == {"log_prob_epsilon": 1e-6}
    (tmp_path / "agent.safetensors").write_bytes(data)
    steps = ("training.env_steps=500", "training.warmup_steps=100")
    imported(*TASK, *QUICK, *steps, agent=tmp_path / "agent.safetensors")  # with bounds that rounding has changed
    assert load_config(Path("config.yaml")).sac.log_prob_epsilon == 1e-6
