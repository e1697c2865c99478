"""The code blocks of the README and the docs are run, in order, on a study small enough for a test."""

import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rlottery.pruning.mask_file import read_mask
from rlottery.report import files
from rlottery.storage.disk import read_arrays
from tests.code_blocks import blocks, commands, run
from tests.study.execution.in_process import train_in_this_process

ROOT = Path(__file__).parent.parent
OTHERS = (
    ROOT / "docs" / "get-started.md",
    *(ROOT / "docs").glob("extending*.md"),
    *(ROOT / "docs" / "tutorials").glob("*.md"),
)
"""Pages whose examples test_get_started.py, test_extending.py and test_tutorials.py run."""
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page not in OTHERS)]
"""Pages whose blocks are commands and programs."""

DRAWS_REPORTS = "uv run rlottery report"
"""Commands that begin like this, on the pages of `SHOW_REPORTS`, draw a report. It takes longer than a tiny study, so
others that would write one don't."""
SHOW_REPORTS = ("README.md", "masks.md", "report.md")

TINY = """
name: docs
data: data
tasks: [Pendulum-v1]
seeds: [0]
pruning: {controls: [], num_gradient_batches: 2, gradient_batch_size: 8}
training: {env_steps: 250, warmup_steps: 200}
evaluation: {interval: 250, episodes: 1, score_evaluations: 1, untrained_policies: 2}
"""


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script and a tiny study instead of the shipped one. Later pages use what earlier ones made."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "run_pipeline.py", folder)
    (folder / "config.yaml").write_text(TINY)
    for name in ("agent.zip", "initial.zip", "replay.pkl"):
        shutil.copy(ROOT / "tests" / "fixtures" / "sb3" / name, folder)
    return folder


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> Iterator[None]:
    """Commands and code run in this process, which imports JAX and compiles only once."""
    train_in_this_process(monkeypatch)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(shared_folder / "minari"))
    path = list(sys.path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    sys.path[:] = path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_blocks_run(page: Path, shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared_folder)
    if page.name == "tracking.md":  # there may be no tracker here
        monkeypatch.syspath_prepend(str(ROOT / "tests" / "tracking" / "stand_in"))
        monkeypatch.setenv("STAND_IN_FILE", str(shared_folder / "sent"))
    draw = files.write_report
    monkeypatch.setattr(files, "write_report", lambda *_: [])
    names = {"__name__": "__main__"}  # a block may use what earlier ones of its page have made
    for language, code in blocks(page):
        assert language in ("bash", "python", "yaml"), f"{page.name}: how is a {language} block to be tested?"
        if name := re.match(r"# (\w+\.py)\n", code):
            (shared_folder / name[1]).write_text(code)
        if language == "python" and not ("import torch" in code and find_spec("torch") is None):
            # Without PyTorch, test_functions_with_torch.py and export/test_torch_program.py run the examples for it.
            exec(compile(code, page.name, "exec"), names)
        for command in commands(code) if language == "bash" else []:
            assert command.startswith("uv run ") or "pip install" in code, f"{page.name}: {command} is run without uv"
            if page.name in SHOW_REPORTS and command.startswith(DRAWS_REPORTS):
                monkeypatch.setattr(files, "write_report", draw)
            if not (command.endswith(".pt2") and find_spec("torch") is None):
                run(command, monkeypatch)
            monkeypatch.setattr(files, "write_report", lambda *_: [])


def test_the_criterion_of_ones_own_works_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(ROOT / "docs" / "criteria.md")
    code = next(code for language, code in found if language == "python" and "# my_scores.py" in code)
    arms = next(code for language, code in found if language == "yaml" and "my_scores:" in code)
    (tmp_path / "my_scores.py").write_text(code)
    study = TINY.replace("pruning: {controls: [], num_gradient_batches: 2, gradient_batch_size: 8}\n", arms)
    (tmp_path / "config.yaml").write_text(study)
    monkeypatch.chdir(tmp_path)
    run("uv run rlottery run --stages dense,mask", monkeypatch)
    del sys.modules["my_scores"]  # other tests have one of their own
    runs = tmp_path / "data" / "runs" / "Pendulum-v1" / "seed_0"
    mask, inverted = (read_mask(runs / arm / "mask.pkl") for arm in ("grown-90", "inverted"))
    trained, initial = (read_arrays(runs / "dense" / f"{name}.safetensors") for name in ("agent", "initial"))
    names = [f"actor.{path}.kernel" for path in mask.groups["actor"]]
    grown = [np.abs(trained[f"params.{name}"]) - np.abs(initial[name]) for name in names]
    highest = np.sort(np.concatenate([layer.ravel() for layer in grown]))[::-1]
    kept = [layer[survivors] for layer, survivors in zip(grown, mask.groups["actor"].values(), strict=True)]
    counts = [len(layer) for layer in kept]
    assert np.sort(np.concatenate(kept))[::-1].tolist() == highest[: sum(counts)].tolist()
    assert [np.count_nonzero(layer) for layer in inverted.groups["actor"].values()] == counts
    assert not any((mask.groups["actor"][f"layer_{i}"] & inverted.groups["actor"][f"layer_{i}"]).any() for i in (0, 1))


def test_there_is_something_to_run() -> None:
    found = [
        command for page in PAGES for language, code in blocks(page) if language == "bash" for command in commands(code)
    ]
    assert "uv run python run_pipeline.py" in found
