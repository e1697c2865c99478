"""Warnings about sparsities whose masks are cut, before anything starts."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rlottery.agents.description import kernel_shapes
from rlottery.config import Config, load_config
from rlottery.errors import MaskError
from rlottery.pruning.prune import prune
from rlottery.storage.paths import Store
from rlottery.storage.work_place import WorkPlace
from rlottery.study import run
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.few_weights import expected_paths, few_weights_warnings
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.network_sizes import networks_of, task_spec
from rlottery.training.dynamic_sparsity import _random_mask
from tests.command import call

STUDY = "tasks: [Pendulum-v1]\nseeds: [0, 1]\nnetwork: {actor: [32, 32], critic: [32, 32]}\n"


def study(tmp_path: Path, arms: str, more: str = STUDY) -> Config:
    (tmp_path / "config.yaml").write_text(f"{more}arms: [{arms}]\n")
    return load_config(tmp_path / "config.yaml")


def warned(config: Config) -> list[str]:
    return few_weights_warnings(config, list_jobs(config, arms_of(config, None), STAGES))


@pytest.mark.parametrize("rule", ["uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.97, 0.99, 0.995])
def test_random_masks_have_as_many_paths_as_expected(tmp_path: Path, rule: str, sparsity: float) -> None:
    """Against random masks, whose paths are counted by multiplying their matrices."""
    config = study(tmp_path, f"{{criterion: random, allocation: {rule}, sparsity: {sparsity}}}")
    (arm,) = arms_of(config, None)
    task = config.tasks[0]
    layers = kernel_shapes(networks_of(config, task, task_spec(task)))["actor"]
    generator, paths, connected, draws = np.random.default_rng(1), 0, 0, 4_000
    for _ in range(draws):
        scores = {path: generator.random(shape).astype(np.float32) for path, shape in layers.items()}
        try:
            mask = prune(scores, sparsity, allocation=rule)  # type: ignore[arg-type]
        except MaskError:
            continue
        one, two, three = (layer.astype(int) for layer in mask.values())
        paths, connected = paths + int((one @ two @ three).sum()), connected + 1
    expected = expected_paths(arm, layers, sparsity)
    assert paths / draws == pytest.approx(expected, rel=0.2, abs=0.004)
    assert connected / draws <= expected * 1.2 + 0.004


def test_what_is_said_and_of_which_arms(tmp_path: Path) -> None:
    recipes = [
        "{name: a, criterion: magnitude, sparsity: [0.5, 0.9975]}",
        "{name: b, criterion: magnitude, sparsity: 0.9975, reclaim: true}",
        "{name: c, criterion: magnitude, sparsity: 0.9, structure: units}",
        "{name: d, criterion: random, allocation: erk, sparsity: {actor: 0.99, critic: 0.5}}",
        "{name: e, control: random, of: a-99.75}",
    ]
    found = warned(study(tmp_path, ", ".join(recipes)))
    assert [line.split(": ")[1] for line in found] == [
        "a-99.75 on Pendulum-v1", "a-99.75 on Pendulum-v1", "d on Pendulum-v1",
    ]  # fmt: skip
    assert "leaves actor 3 of 1,184 weights" in found[0] and found[0].endswith("at most 0.9, or reclaim: true.")
    assert "leaves critic 3 of 1,184 weights" in found[1]


def test_the_sparsity_that_is_recommended_is_not_warned_of(tmp_path: Path) -> None:
    for rule in ("global", "uniform", "erk"):
        recipe = f"name: a, criterion: magnitude, allocation: {rule}"
        (line,) = warned(study(tmp_path, f"{{{recipe}, sparsity: {{actor: 0.995, critic: 0.0}}}}"))
        lower = line.partition("at most ")[2].split(",")[0].rstrip(".")
        assert not warned(study(tmp_path, f"{{{recipe}, sparsity: {lower}}}"))


@pytest.mark.parametrize("kind", ["set", "rigl"])
@pytest.mark.parametrize("allocation", ["erk", "uniform"])
def test_first_masks_that_are_drawn_until_connected_are_warned_of_where_draws_fail(
    tmp_path: Path, kind: str, allocation: str
) -> None:
    """Against the masks that such runs start with, from ten seeds."""
    outcomes = set()
    for sparsity in (0.97, 0.99, 0.993, 0.995, 0.9965):
        recipe = f"schedule: {{{kind}: {{interval: 100}}}}, allocation: {allocation}"
        config = study(tmp_path, f"{{{recipe}, sparsity: {{actor: {sparsity}, critic: 0.5}}}}")
        task = config.tasks[0]
        layers = kernel_shapes(networks_of(config, task, task_spec(task)))["actor"]
        found = 0
        for seed in range(10):
            with contextlib.suppress(MaskError):
                _random_mask(dict(layers), sparsity, allocation, 1, np.random.default_rng(seed))  # type: ignore[arg-type]
                found += 1
        lines = warned(config)
        assert not (lines and found == 10) and (lines or found >= 4), (sparsity, found, lines)
        assert all("and then the run fails. Use" in line for line in lines)
        outcomes.add(bool(lines))
    assert outcomes == {False, True}


def test_when_a_run_fails_depends_on_what_makes_its_mask(tmp_path: Path) -> None:
    gradual = "{name: g, schedule: {gradual: {interval: 100}}, sparsity: 0.9975}"
    lines = warned(study(tmp_path, f"{gradual}, {{name: t, criterion: magnitude, sparsity: 0.9975}}"))
    ends = {line.split(": ")[1][0]: line.partition("then the run fails")[2].partition(" Use")[0] for line in lines}
    assert ends == {"g": ".", "t": ", after the dense agents were trained."}


def test_the_smallest_networks_are_not_warned_of(tmp_path: Path) -> None:
    tiny = "tasks: [Pendulum-v1]\nseeds: [0]\nnetwork: {actor: [1], critic: [1]}\n"
    assert not warned(study(tmp_path, "{name: a, criterion: magnitude, sparsity: 0.0}", tiny))


def test_the_dry_run_says_it_and_so_does_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study(tmp_path, "{name: a, criterion: magnitude, sparsity: 0.9975}")
    said = " ".join(call("run", "--dry-run")[1].split())
    warning = "Warning: a on Pendulum-v1: a sparsity of 0.9975 leaves actor 3 of 1,184 weights."
    assert warning in said

    class StoppedError(Exception):
        pass

    def stop(_: Config) -> None:
        raise StoppedError

    monkeypatch.setattr(run, "check_device", stop)  # what comes next
    console = Console(file=io.StringIO())
    config = load_config(tmp_path / "config.yaml")
    with pytest.raises(StoppedError), WorkPlace(Store(config.data)) as place:
        run._prepare(config, None, STAGES, None, console, place, None)
    assert warning in " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
