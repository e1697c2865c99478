"""`rlottery check MASK`: what it shows of masks made by hand, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.study import check
from rlottery.study.planning import network_sizes
from tests.command import call
from tests.study.planning.test_checks import groups_of, mask_file
from tests.study.studies import TINY


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_what_a_mask_contains() -> None:
    groups = groups_of(4)
    groups["actor"]["layer_0"][:, 0] = False  # unit 0 reads nothing
    groups["actor"]["layer_1"][3] = False  # nothing reads unit 3
    mask_file(Path("mine.pkl"), groups)
    code, output, errors = call("check", "mine.pkl")
    assert (code, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert "task Pendulum-v1, seed 0, method listed, criterion by hand" in output
    assert "actor: 29 of 36 weights kept" in output
    assert ["actor.layer_0", "3", "x", "4", "9", "6", "25", "%", "1", "1"] in lines
    assert ["actor.layer_1", "4", "x", "4", "12", "8", "25", "%", "0", "0"] in lines
    assert ["critic.q2.layer_2", "4", "x", "1", "4", "4", "0", "%", "0", "0"] in lines


def test_all_that_is_wrong_is_listed() -> None:
    mask_file(Path("good.pkl"), groups_of(4))
    cut = groups_of(4)
    cut["actor"]["layer_1"][:] = False
    mask_file(Path("cut.pkl"), cut)
    odd = groups_of(4)
    odd["actor"]["layer_1"] = np.ones((5, 4), bool)
    mask_file(Path("odd.pkl"), odd)
    Path("junk").write_bytes(b"junk")
    code, output, errors = call("check", "cut.pkl", "odd.pkl", "junk", "none.pkl", "good.pkl")
    assert code == 2
    assert output.count("Pendulum-v1") == 3  # what can be read is shown
    first, second, third, fourth = errors.splitlines()
    assert first.startswith("error: cut.pkl: actor: The network is cut at layer 'layer_1': ")
    assert second == "odd.pkl: actor: Layer 'layer_1' has 5 inputs, but the layer before it has 4 outputs."
    assert third.startswith("junk can't be used as a mask: it is none of the formats of masks")
    assert fourth.startswith("There is no mask at none.pkl.")


def test_against_the_networks_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(study: Config) -> None:
        for task in study.tasks:
            network_sizes.note_task(task, Spec(3, 1), "")

    monkeypatch.setattr(check, "try_tasks", tried)
    monkeypatch.setattr(network_sizes, "_known", {})
    monkeypatch.setattr(network_sizes.envs, "make_closed", None)  # environments are made in other processes
    mask_file(Path("16.pkl"), groups_of(16))
    mask_file(Path("8.pkl"), groups_of(8))
    Path("config.yaml").write_text(TINY)
    code, output, _ = call("check", "16.pkl", "--study", "config.yaml")
    assert code == 0 and "Its shapes fit the networks of Pendulum-v1." in output
    code, output, errors = call("check", "8.pkl", "--study", "config.yaml")
    assert code == 2 and "shapes fit" not in output
    assert errors.startswith("error: 8.pkl doesn't fit the networks of Pendulum-v1. actor: The mask of layer 'layer_0'")


def test_a_mask_of_another_tool() -> None:
    layers = {f"{group}.{path}": kept for group, of in groups_of(4).items() for path, kept in of.items()}
    np.savez("theirs.npz", **layers)
    code, output, errors = call("check", "theirs.npz")
    assert (code, errors) == (0, "") and "criterion by hand" in output and "task" not in output
    np.savez("turned.npz", **{name: kept.T for name, kept in layers.items()})
    code, _, errors = call("check", "turned.npz")
    assert code == 2 and "Layer 'layer_1' has" in errors


def test_a_folder_named_like_a_task_is_no_mask() -> None:
    Path("Pendulum-v1").mkdir()
    assert not check.is_mask("Pendulum-v1")


def test_text_of_the_file_cannot_command_the_terminal() -> None:
    mask_file(Path("mask.pkl"), {"\x1b[2J": {"\x1b[3J_0": np.ones((2, 2), bool)}})
    assert "\x1b" not in call("check", "mask.pkl")[1]
