"""Studies that are tracked: the same bits, and each step at the tracker once, whatever the tracker does."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import WALL_CLOCK, read_metrics
from rlottery.storage.paths import Store
from tests.command import call, refusal
from tests.study.execution.in_process import run_in_this_process
from tests.study.studies import TINY

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAND_IN_FILE", str(tmp_path / "sent"))
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sent"


def results(folder: Path) -> Any:
    files = Store(folder / "data").run("Pendulum-v1", 0, "dense")
    manifest = read_manifest(files)
    assert manifest is not None
    rows = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_metrics(files.metrics)]
    digests = {name: entry["sha256"] for name, entry in manifest["files"].items() if name != files.metrics.name}
    return manifest["fingerprint"], digests, rows


def test_a_study_has_the_same_bits_and_its_metrics_can_be_sent_later(
    tmp_path: Path, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plain", "tracked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(TINY)
    run_in_this_process(tmp_path / "plain", "--stages", "dense")
    monkeypatch.setenv("STAND_IN_FAULT", "raises")
    run_in_this_process(tmp_path / "tracked", "--stages", "dense", "--track", "trackio")
    assert results(tmp_path / "plain") == results(tmp_path / "tracked")
    assert "tracking" not in json.loads((tmp_path / "tracked" / "data" / "study.json").read_text())["config"]
    assert '"step"' not in sent.read_text()

    code, _, message = call("track", tmp_path / "tracked" / "data", "--to", "trackio")
    assert code == 2 and message == (
        "error: Trackio doesn't take the metrics: ConnectionError: no way to http://...@server. What was sent stays "
        "sent: fix this, and run the same command again.\n"
    )
    monkeypatch.delenv("STAND_IN_FAULT")
    steps = list(dict.fromkeys(row["env_steps"] for row in results(tmp_path / "plain")[2]))
    said = [call("track", tmp_path / "tracked" / "data", "--to", "trackio") for _ in range(2)]
    assert [output for _, output, _ in said] == [f"Trackio: sent {n} steps of 1 run.\n" for n in (len(steps), 0)]
    lines = [json.loads(line) for line in sent.read_text().splitlines()]
    assert [line["step"] for line in lines if "step" in line] == steps
    settings = next(line["config"] for line in lines if "config" in line)
    assert (settings["arm"], settings["sac"]["batch_size"]) == ("dense", 256)


def test_a_missing_extra_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TINY)
    Path("mlflow").mkdir()  # a folder of that name is no library
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("rlottery.study.planning.trials.SILENT_SECONDS", 1e6)
    message = refusal("run", "config.yaml", "--track", "mlflow")
    assert message.endswith(
        "MLflow needs a package that can't be imported: No module named 'mlflow'. Install the extra: "
        "pip install 'rlottery[mlflow]', or in a checkout: uv sync --extra mlflow\n"
    )


def test_commands_that_say_nothing_useful(tmp_path: Path, sent: Path) -> None:
    Path("config.yaml").write_text(TINY)
    assert "has no runs yet" in refusal("track", "config.yaml", "--to", "trackio")
    Store(Path("data")).run("Pendulum-v1", 0, "dense").folder.mkdir(parents=True)
    assert "Name a tracker: --to wandb, trackio or mlflow" in refusal("track", "config.yaml")
    assert "There is no tracker 'tensorboard'" in refusal("track", "config.yaml", "--to", "tensorboard")
    assert "data has no metrics to send" in refusal("track", "config.yaml", "--to", "trackio")
