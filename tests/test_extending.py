"""The examples of docs/extending.md, and of the pages that it links to, work as they are written."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import yaml

from rlottery import envs
from rlottery.agents.base import apply_masks, jax_key, kernels, nest_masks
from rlottery.agents.description import Spec, kernel_shapes
from rlottery.config import load_config
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld
from rlottery.export import formats
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.criteria import CRITERIA, find_criterion
from rlottery.storage.transitions import Transitions
from rlottery.study.catalogue import sections
from rlottery.study.execution.cluster import Phase
from tests.export.exported import random_policy

DOCS = Path(__file__).parent.parent / "docs"


def blocks(heading: str, language: str = "python", page: str = "extending") -> list[str]:
    """The code blocks of a section, or of a page that has this title, in order."""
    text = "\n" + (DOCS / f"{page}.md").read_text()
    section = re.split(r"^## ", re.split(rf"^##? {heading}\n", text, flags=re.M)[1], flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)


def run(code: str) -> dict[str, Any]:
    """What a block defines."""
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty working directory, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_scores", None)


def test_criterion(capsys: pytest.CaptureFixture[str]) -> None:
    module, trial = blocks("A criterion")
    Path("my_scores.py").write_text(module)
    found = run(trial)
    np.testing.assert_allclose(found["scores"]["layer"], [[0.1, 2.0], [3.0, 0.0]], rtol=1e-5)
    assert found["mask"]["layer"].tolist() == [[False, True], [True, False]]
    (arms,) = blocks("A criterion", "yaml")
    assert find_criterion(yaml.safe_load(arms)["arms"][0]["criterion"]).reads == ("weights", "initial_weights")
    assert "my_scores:moved" not in CRITERIA


def test_control(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(blocks("A control")[0])
    control = found["MOVED_INPUTS"]
    monkeypatch.setitem(CONTROLS, control.name, control)
    Path("study.yaml").write_text(
        "tasks: [Pendulum-v1]\nseeds: [0]\narms:\n"
        "  - {name: ticket, criterion: magnitude, sparsity: 0.9}\n"
        "  - {control: moved-inputs, of: ticket}\n"
    )
    _, recipe = load_config("study.yaml").arms
    assert recipe.about is control
    assert any("moved-inputs" in section.methods for section in sections())
    rng = np.random.default_rng(0)
    ticket = {"layer_0": rng.random((6, 8)) < 0.5, "layer_1": rng.random((8, 3)) < 0.5}
    moved = control.draw_mask(ticket, rng)
    for path, layer in ticket.items():
        assert (moved[path] != layer).any()
        assert moved[path].sum(axis=0).tolist() == layer.sum(axis=0).tolist()


def test_algorithm() -> None:
    found = run(blocks("Adding an algorithm", page="extending-algorithm")[0])
    ddpg, spec = found["DDPG"], Spec(observation_size=2, action_size=1)
    settings = found["DDPGSettings"](hidden=(5,), batch_size=4)
    shapes = kernel_shapes(ddpg.description.networks(spec, settings))
    rng = np.random.default_rng(0)
    masks = nest_masks({group: {p: rng.random(s) < 0.6 for p, s in of.items()} for group, of in shapes.items()})
    sizes = ((4, 2), (4, 1), (4,), (4, 2))
    batch = Transitions(*(rng.normal(size=size).astype(np.float32) for size in sizes), np.zeros(4, np.float32))

    @jax.jit  # one program for all, which takes less time than many small ones
    def trial(key: jax.Array) -> tuple[Any, ...]:
        state = ddpg.with_masks(ddpg.init(ddpg.init_params(key, spec, settings), key, settings), masks)
        losses = ddpg.losses(state, batch, key, settings)
        gradients = {group: apply_masks(jax.grad(losses[group])(state.params[group]), masks[group]) for group in losses}
        updated, metrics = ddpg.update(state, batch, settings)
        return (
            state,
            gradients,
            updated,
            metrics,
            ddpg.layer_inputs(state, batch, settings),
            ddpg.rewind(updated, key, settings),
        )

    state, gradients, updated, metrics, inputs, rewound = jax.device_get(trial(jax_key(1)))
    assert ddpg.masks_hold(updated) and metrics.keys() == {"actor_loss", "critic_loss"}
    # Adam's first step moves each surviving weight by the learning rate, against its gradient.
    for group, layers in shapes.items():
        before, after, gradient = (kernels(of[group]) for of in (state.params, updated.params, gradients))
        for path, shape in layers.items():
            expected = np.where(np.abs(gradient[path]) > 1e-5, -3e-4 * np.sign(gradient[path]), 0.0)
            np.testing.assert_allclose(after[path] - before[path], expected, atol=1e-6)
            assert before[path].shape == shape and inputs[group][path].shape == (4, shape[0])
    assert jax.tree.all(jax.tree.map(np.array_equal, rewound.targets, updated.targets))


def test_environment_family(monkeypatch: pytest.MonkeyPatch) -> None:
    family, families = blocks("An environment family")
    names = run(family) | {"MetaWorld": MetaWorld, "GymnasiumTasks": GymnasiumTasks}
    exec(families, names)
    monkeypatch.setattr("rlottery.envs.families.FAMILIES", names["FAMILIES"])
    windy, calm = envs.make("windy/Pendulum-v1"), envs.make("Pendulum-v1")
    assert windy.reset(3).tolist() == calm.reset(3).tolist()
    assert windy.step(np.array([0.2])).observation == pytest.approx(calm.step(np.array([0.25])).observation)
    assert envs.observation_names("windy/Pendulum-v1") is None


def test_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    module, table = blocks("An exporter")
    writer = SimpleNamespace(**run(module))
    monkeypatch.setattr(formats, "FORMATS", run("from rlottery.export.formats import Format\n" + table)["FORMATS"])
    monkeypatch.setitem(sys.modules, formats.FORMATS["json"].module, writer)  # type: ignore[arg-type]
    assert formats.writer_of(formats.format_of(None, Path("policy.json"))) is writer
    policy = random_policy([4, 8, 2], 0.3, normalised=True)
    data, seen = writer.content(policy), np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert json.loads(data)["about"]["agent_sha256"] == policy.policy.agent_sha256
    np.testing.assert_array_equal(writer.actions(data, policy, seen).actions, policy.policy(seen))


def test_engine(tmp_path: Path) -> None:
    hosts = run(blocks("Adding an engine for clusters", page="extending-cluster")[0])["Hosts"]([("sh", "-c")])
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'x').close()"]
    tasks = [
        SimpleNamespace(batch="b", index=index, key=("b", index), command=[*command, str(tmp_path / f"it's {index}")])
        for index in range(2)
    ]
    assert hosts.hand_in(tasks) == ["b-0", "b-1"]
    assert {key: standing.phase for key, standing in hosts.standings().items()}[("b", 1)] is Phase.QUEUED
    while hosts.standings():
        pass
    assert all((tmp_path / f"it's {index}").exists() for index in range(2))
