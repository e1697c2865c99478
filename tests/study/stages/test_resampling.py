import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.analysis.stability import Stability, read_stability
from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import kept_weights
from rlottery.study.planning.arms import built_in_arms
from rlottery.study.planning.jobs import Job
from rlottery.study.stages import masking
from rlottery.study.stages.masking import load_scored_agent, select_survivors
from rlottery.study.stages.resampling import measure_stability
from rlottery.study.stages.run_stage import run_stage
from tests.laboratory import Laboratory, laboratory
from tests.study.studies import tiny_config

ARMS = """\
arms:
  - {name: magnitude, criterion: magnitude, sparsity: 0.8}
  - {name: taylor, criterion: taylor, sparsity: 0.8, batches: 2, batch_size: 16}
  - {name: much, criterion: taylor, sparsity: 0.8, batches: 100, batch_size: 64}
  - {name: snip, criterion: snip, sparsity: 0.8, batches: 2, batch_size: 16}
  - {name: inverted, control: inverted, of: taylor}
  - {name: random, control: random, of: taylor}
  - name: imp
    criterion: taylor
    sparsity: 0.75
    schedule: {iterative: {rate: 0.5}}
    batches: 2
    batch_size: 16
"""
SCORED_BY_DATA = ("taylor", "much", "snip", "inverted", "imp")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Dense agents of both seeds, all masks of seed 0, and one of seed 1."""
    made = laboratory(tmp_path_factory.mktemp("resampling"), ARMS)
    made.run(lambda job: job.stage == "dense" or (job.stage == "mask" and job.seed == 0) or "round" in job.arm_name)
    run_stage(made.job("taylor", "mask", seed=1))
    return made


@pytest.fixture
def lab(trained: Laboratory, tmp_path: Path) -> Laboratory:
    """A copy that a test may spoil."""
    shutil.copytree(trained.config.data, tmp_path / "data")
    return laboratory(tmp_path, ARMS)


def measured(lab: Laboratory, arm: str, seed: int = 0) -> Stability | None:
    files = lab.job(arm, "mask", seed).files
    return read_stability(files, read_mask(files.mask).metadata["digest"])


def measure(lab: Laboratory, resamples: int = 3) -> list[str]:
    said: list[str] = []
    measure_stability(lab.config, resamples, said.append)
    return said


def test_masks_that_read_batches_are_measured_and_no_others(lab: Laboratory) -> None:
    said = measure(lab)
    for arm in SCORED_BY_DATA:
        found = measured(lab, arm)
        assert found is not None
        assert found.resamples == 3
        assert 0 < found.chance < found.jaccard <= 1 or arm == "inverted"
    assert measured(lab, "taylor", seed=1) is not None
    for arm in ("magnitude", "random"):
        assert measured(lab, arm) is None
    assert [line.split(" mask: ")[0] for line in said] == [
        "Pendulum-v1 seed 0 taylor",
        "Pendulum-v1 seed 1 taylor",
        *(f"Pendulum-v1 seed 0 {arm}" for arm in ("much", "snip", "imp", "inverted")),
    ]


def test_the_mean_over_pairs_by_hand(lab: Laboratory) -> None:
    measure(lab)
    job = lab.job("taylor", "mask")
    scored = load_scored_agent(job)
    drawn = [select_survivors(job, scored, index) for index in range(3)]
    flat = [np.concatenate([layer.ravel() for layers in mask.values() for layer in layers.values()]) for mask in drawn]
    pairs = [(flat[0], flat[1]), (flat[0], flat[2]), (flat[1], flat[2])]
    found = measured(lab, "taylor")
    assert found is not None
    assert found.jaccard == pytest.approx(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))


def test_more_data_makes_steadier_masks(lab: Laboratory) -> None:
    measure(lab)
    little, much = measured(lab, "taylor"), measured(lab, "much")
    assert little is not None and much is not None
    assert much.jaccard > little.jaccard + 0.05


def test_draws_differ_from_each_other_and_from_the_masks_own(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []
    gather = masking.gather_statistics

    def seen(*arguments: Any, key: Any, generator: np.random.Generator, **more: Any) -> Any:
        drawn.append((np.asarray(jax.random.key_data(key)).tobytes(), generator.bit_generator.state["state"]["state"]))
        return gather(*arguments, key=key, generator=generator, **more)

    monkeypatch.setattr(masking, "gather_statistics", seen)
    job = lab.job("taylor", "mask")
    own = read_mask(job.files.mask)
    job.files.mask.unlink()
    run_stage(job)
    assert read_mask(job.files.mask).metadata == own.metadata
    scored = load_scored_agent(job)
    masks = [own.groups, *(select_survivors(job, scored, index) for index in range(3))]
    assert len({key for key, _ in drawn}) == len({state for _, state in drawn}) == 4
    for made in masks[1:]:
        for group, layers in made.items():
            assert kept_weights(layers) == kept_weights(own.groups[group])
            assert any((layer != own.groups[group][path]).any() for path, layer in layers.items())


def test_a_last_round_prunes_what_the_round_before_left(lab: Laboratory) -> None:
    before = read_mask(lab.job("imp", "mask").scored.files.mask)
    job = lab.job("imp", "mask")
    made = select_survivors(job, load_scored_agent(job), 0)
    for group, layers in made.items():
        assert all(not (layer & ~before.groups[group][path]).any() for path, layer in layers.items())


def test_nothing_is_measured_twice(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(lab)
    first = measured(lab, "taylor")

    def fail(*arguments: Any, **more: Any) -> Any:
        raise AssertionError("scored again")

    with monkeypatch.context() as patch:
        patch.setattr(masking, "gather_statistics", fail)
        assert all(line.endswith("measured before") for line in measure(lab))
        assert all(line.endswith("measured before") for line in measure(lab, resamples=2))
    assert measured(lab, "taylor") == first
    measure(lab, resamples=4)
    more = measured(lab, "taylor")
    assert more is not None
    assert more.resamples == 4


def test_a_damaged_measurement_is_made_anew(lab: Laboratory) -> None:
    path = lab.job("taylor", "mask").files.stability
    path.write_bytes(b"{")
    measure(lab)
    assert measured(lab, "taylor") is not None


def test_without_its_replay_a_mask_is_named_and_skipped(lab: Laboratory) -> None:
    shutil.rmtree(lab.job("dense").files.replay)
    skipped = [line for line in measure(lab) if "skipped." in line]
    assert len(skipped) == len(SCORED_BY_DATA)
    assert all(str(lab.job("dense").files.replay) in line and "keep_replay: true" in line for line in skipped)
    assert measured(lab, "taylor") is None
    assert measured(lab, "taylor", seed=1) is not None


def test_damaged_replay_is_named_and_stops_no_other(lab: Laboratory) -> None:
    path = lab.job("dense").files.replay / "rewards.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    skipped = [line for line in measure(lab) if "skipped." in line]
    assert any(line.startswith("Pendulum-v1 seed 0 taylor") and str(path) in line for line in skipped)
    assert measured(lab, "taylor", seed=1) is not None


def test_a_mask_of_another_agent_is_skipped(lab: Laboratory) -> None:
    shutil.copy(lab.job("taylor", "mask", seed=1).files.mask, lab.job("taylor", "mask").files.mask)
    assert any(line.startswith("Pendulum-v1 seed 0 taylor mask: skipped.") for line in measure(lab))
    assert not lab.job("taylor", "mask").files.stability.exists()


def test_the_guides_two_methods(tmp_path: Path) -> None:
    config: Config = tiny_config(tmp_path)
    run_stage(Job(config, "dense", 0, 0))
    for method in ("magnitude", "gradient"):
        run_stage(Job(config, "mask", 0, 0, built_in_arms(method, config.pruning)[0]))
    said: list[str] = []
    measure_stability(config, 2, said.append)
    (line,) = said
    assert line.startswith("Pendulum-v1 seed 0 taylor-80-2x8 mask: masks from 2 draws")


@pytest.mark.parametrize("resamples", [1, 0, -3, 101])
def test_one_mask_has_no_pair(tmp_path: Path, resamples: int) -> None:
    with pytest.raises(RlotteryError, match=f"not {resamples}"):
        measure_stability(tiny_config(tmp_path), resamples, print)


def test_a_study_without_masks(tmp_path: Path) -> None:
    said: list[str] = []
    measure_stability(tiny_config(tmp_path), 2, said.append)
    assert said == []
