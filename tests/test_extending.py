"""The examples of docs/extending.md work as they are written."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rlottery import envs
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld
from rlottery.export.policy import load_agent
from rlottery.export.policy_file import policy_bytes
from rlottery.pruning.criteria import CRITERIA, find_criterion
from rlottery.pruning.fold import fold

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"


def blocks(heading: str, language: str = "python") -> list[str]:
    """The section's code blocks, in order."""
    section = re.split(r"^## ", PAGE.read_text().partition(f"\n## {heading}\n")[2], flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)


def run(code: str) -> dict[str, Any]:
    """What a block defines."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, from which modules are imported and forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_criterion(capsys: pytest.CaptureFixture[str]) -> None:
    module, trial = blocks("A criterion")
    Path("my_scores.py").write_text(module)
    found = run(trial)
    np.testing.assert_allclose(found["scores"]["layer"], [[0.1, 2.0], [3.0, 0.0]], rtol=1e-5)
    assert found["mask"]["layer"].tolist() == [[False, True], [True, False]]
    (arms,) = blocks("A criterion", "yaml")
    assert find_criterion(yaml.safe_load(arms)["arms"][0]["criterion"]).reads == ("weights", "initial_weights")
    assert "my_scores:moved" not in CRITERIA


def test_task() -> None:
    module = blocks("Environments")[0]
    Path("my_tasks.py").write_text(module)
    (config,) = blocks("Environments", "yaml")
    (task,) = yaml.safe_load(config)["tasks"]
    environment = envs.make(task)
    start = environment.reset(seed=3)
    first = [environment.step(np.array([0.5])) for _ in range(100)]
    assert first[-1].truncated and not first[-2].truncated and first[0].success is False
    assert environment.reset(seed=3).tolist() == start.tolist()
    assert environment.step(np.array([0.5])).observation.tolist() == first[0].observation.tolist()


def test_environment_family(monkeypatch: pytest.MonkeyPatch) -> None:
    _, family, families = blocks("Environments")
    names = run(family) | {"MetaWorld": MetaWorld, "GymnasiumTasks": GymnasiumTasks}
    exec(families, names)
    monkeypatch.setattr("rlottery.envs.families.FAMILIES", names["FAMILIES"])
    windy, calm = envs.make("windy/Pendulum-v1"), envs.make("Pendulum-v1")
    assert windy.reset(3).tolist() == calm.reset(3).tolist()
    assert windy.step(np.array([0.2])).observation == pytest.approx(calm.step(np.array([0.25])).observation)
    assert envs.observation_names("windy/Pendulum-v1") is None


def test_exporter() -> None:
    layer = {"kernel": np.array([[1.5], [-2e-7]], np.float32), "bias": np.array([0.1], np.float32)}
    bounds = {"observation_size": 2, "action_size": 1, "action_low": [-1.0], "action_high": [1.0]}
    about = {**bounds, "task": "Pendulum-v1", "seed": 0, "arm": "dense", "sparsity": 0.0, "unread_observations": []}
    Path("policy.npz").write_bytes(policy_bytes(fold({"layer_0": layer}, {}), about))
    run(blocks("An exporter")[0])["export_c"](Path("policy.npz"), Path("policy.c"))
    written = dict(re.findall(r"^static const float (\w+)\S* = \{(.*)\};$", Path("policy.c").read_text(), flags=re.M))
    (expected,) = load_agent("policy.npz").layers
    for name, array in zip(("kernel_0", "bias_0"), expected, strict=True):
        read = np.array([float(number.removesuffix("f")) for number in written[name].split(", ")], np.float32)
        assert read.tolist() == array.ravel().tolist()
