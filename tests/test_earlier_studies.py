"""A finished study of version 0.1.0, with an arm of every kind: later versions read it and extend it.

`fixtures/study-0.1.0.tar.gz` holds its config and its data folder, less logs and its report. Commit ec1aa7b ran it.
"""

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rlottery
from rlottery.cli import app
from rlottery.config import Config, config_to_dict, load_config
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import by_network, kept_weights
from rlottery.storage.manifests import read_manifest
from rlottery.study.planning.fingerprints import dense_fingerprint, untrained_fingerprint
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import JobState, plan_study
from rlottery.study.stages.run_stage import run_stage
from tests.study.studies import contents

ARCHIVE = Path(__file__).parent / "fixtures" / "study-0.1.0.tar.gz"
ARMS = 18
"""In its config, the dense agents not counted; one of them is iterative, with a round before its last."""

UNTRAINED = "Pendulum-v1 untrained policies"
"""The job that versions before 0.2 did not have."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def study(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own, as the working directory."""
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def left_to_do(config: Config) -> list[str]:
    return [tracked.job.label for tracked in plan_study(config, None, STAGES) if tracked.state != JobState.FOUND]


def config_with(*overrides: str) -> Config:
    return load_config(Path("config.yaml"), list(overrides))


def add_arms(*entries: str) -> None:
    """Append arms to those of the study's config."""
    config = Path("config.yaml")
    config.write_text(config.read_text() + "".join(f"  - {entry}\n" for entry in entries))


def test_nothing_but_the_untrained_policies_is_left_to_do_and_nothing_changes(study: Path) -> None:
    before = contents(study / "data")
    assert left_to_do(config_with()) == [UNTRAINED]
    assert contents(study / "data") == before


def test_records_are_written_as_they_were(study: Path) -> None:
    """With the same keys in the same order, so that files have the same bytes. None names the only algorithm then."""
    config, recorded = config_with(), json.loads(Path("data/study.json").read_text())["config"]
    (task,), written = config.tasks, config_to_dict(config)
    manifest = json.loads(Path("data/runs/Pendulum-v1/seed_0/dense/manifest.json").read_text())
    assert json.dumps(dense_fingerprint(config, task, 0)) == json.dumps(manifest["fingerprint"])
    assert [key for key in written if key in recorded] == list(recorded)
    assert json.dumps([written[key] for key in ("tasks", "sac")]) == json.dumps([recorded[k] for k in ("tasks", "sac")])
    assert "algorithm" not in written.keys() | untrained_fingerprint(config, task).keys()


def test_it_verifies(study: Path) -> None:
    assert "damaged" not in call("verify", "config.yaml")
    assert "damaged" not in call("verify", "data")


def test_it_loads(study: Path) -> None:
    loaded = rlottery.load_study("data")
    assert len(loaded.runs) == ARMS + 1
    assert set(loaded.runs["status"]) == {"done"}
    assert loaded.problems == ()
    dense = loaded.runs[loaded.runs["arm"] == "dense"].iloc[0]
    assert dense["score"] == pytest.approx(loaded.evaluations.query("arm == 'dense'")["return"].iloc[-1])
    agent = rlottery.load_agent(study / "data" / "runs" / "Pendulum-v1" / "seed_0" / "rigl", trust=True)
    assert agent.task == "Pendulum-v1"


def test_it_is_reported(study: Path) -> None:
    call("report", "config.yaml")
    page = (study / "data" / "report" / "report.html").read_text()
    for arm in ("rigl", "small-dense", "fine-tuned", "dense-again"):
        assert arm in page


def test_a_new_arm_adds_its_own_jobs_alone_and_trains_from_the_earlier_files(study: Path) -> None:
    add_arms("{name: more, criterion: magnitude, sparsity: 0.3}", "{name: random-more, control: random, of: more}")
    label = "Pendulum-v1 seed 0"
    added = [f"{label} more mask", f"{label} more", f"{label} random-more mask", f"{label} random-more"]
    few = "evaluation.untrained_policies=2"
    assert sorted(left_to_do(config_with())) == sorted([*added, UNTRAINED])
    for tracked in plan_study(config_with(few), None, STAGES):
        if tracked.state != JobState.FOUND:
            run_stage(tracked.job)
    assert left_to_do(config_with(few)) == []
    manifest = read_manifest(tracked.job.store.run("Pendulum-v1", 0, "random-more"))
    assert manifest is not None and manifest["status"] == "done"
    assert manifest["effective"]["actor"] >= manifest["sparsity"]["actor"]


def test_a_new_seed_adds_that_seeds_jobs_alone(study: Path) -> None:
    added = left_to_do(config_with("seeds=[0, 1]"))
    assert len(added) > 2 * ARMS - 5
    assert added.pop() == UNTRAINED
    assert all("seed 1" in label for label in added)


def test_masks_are_made_as_they_were(study: Path) -> None:
    """Twin critics shared a budget under `allocation: global`. Another mask would be refused: its ticket is kept."""
    config = config_with()
    made = next(t.job for t in plan_study(config, None, STAGES) if t.job.label == "Pendulum-v1 seed 0 imp.round-1 mask")
    before = read_mask(made.files.mask)
    made.files.mask.unlink()
    run_stage(made)
    again = read_mask(made.files.mask).metadata
    assert again == {**again, **before.metadata}  # what later versions add says more about the same mask
    assert [kept_weights(layers) for layers in by_network(before.groups["critic"]).values()] == [75, 71]
