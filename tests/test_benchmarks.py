"""The arithmetic of the speed benchmark. What it times is no matter for a test."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu, machine, workloads
from benchmarks.flops import METAWORLD, Shapes, update_flops, with_unread_gradients
from benchmarks.learning import against_sb3
from benchmarks.learning.against_sb3 import OURS, THEIRS
from benchmarks.ratios import harmonic_mean, scaling, share_of_limit, share_of_serial_rate, summarise
from benchmarks.speed import Quantity
from benchmarks.two_versions import Time, lines


def test_flops_of_a_small_agent_by_hand() -> None:
    # Actor 3 -> 5 -> 2 (15 and 10 weights), critics 4 -> 6 -> 1 (24 and 6 weights), one sample.
    small = Shapes(observation_size=3, action_size=1, actor_widths=[5], critic_widths=[6], batch_size=1)
    targets = 25 + 2 * 30
    critic_loss = 2 * (30 + 30 + 6)  # forward, kernels, hidden layer
    actor_loss = (25 + 25 + 10) + 2 * (30 + 6 + 1 * 6)  # the actor so too; the critics with only the action
    assert update_flops(small) == {
        "targets": 2 * targets,
        "critic_loss": 2 * critic_loss,
        "actor_loss": 2 * actor_loss,
    }
    # The critics' four inputs in their own loss; in the actor's, the observations of all three networks.
    unread = 2 * 4 * 6 + 3 * 5 + 2 * 3 * 6
    assert with_unread_gradients(small) == 2 * (targets + critic_loss + actor_loss + unread)


def test_flops_at_metaworlds_shapes_by_hand() -> None:
    actor = 39 * 256 + 256 * 256 + 256 * 8
    critic = 43 * 256 + 256 * 256 + 256
    actor_back, critic_back = 256 * 256 + 256 * 8, 256 * 256 + 256
    multiply_adds = (actor + 2 * critic) + 2 * (2 * critic + critic_back)
    multiply_adds += 2 * actor + actor_back + 2 * (critic + critic_back + 4 * 256)
    assert sum(update_flops(METAWORLD).values()) == 2 * 256 * multiply_adds == 604_110_848


def test_all_gradients_give_the_sixfold_and_fourfold_of_a_forward_pass() -> None:
    # With the gradients of all inputs, a pass backward costs two forward, or one where no kernel is learnt.
    actor = 39 * 256 + 256 * 256 + 256 * 8
    critic = 43 * 256 + 256 * 256 + 256
    passes = actor * (1 + 3) + 2 * critic * (1 + 3 + 2)
    assert with_unread_gradients(METAWORLD) == 2 * 256 * passes


def test_flops_grow_with_the_batch() -> None:
    doubled = METAWORLD._replace(batch_size=2 * METAWORLD.batch_size)
    assert update_flops(doubled) == {part: 2 * flops for part, flops in update_flops(METAWORLD).items()}


def test_masks_of_all_networks_are_timed() -> None:
    assert workloads.magnitude_mask() > 0
    assert workloads.score_and_prune("magnitude") > 0


def test_median_and_quartiles() -> None:
    assert summarise([4.0, 1.0, 3.0, 2.0, 100.0]) == (3.0, 2.0, 4.0)
    assert summarise([1.0, 2.0]) == (1.5, 1.25, 1.75)
    assert summarise([7.0]) == (7.0, 7.0, 7.0)


def test_the_median_of_ratios_keeps_out_what_slows_a_whole_round() -> None:
    # Rounds at full, half and a third of the speed, and one in which only the limit was slowed.
    rates, limits = [60.0, 30.0, 20.0, 60.0], [100.0, 50.0, 100.0 / 3.0, 10.0]
    ratios = [share_of_limit(rate, 2.0, limit) for rate, limit in zip(rates, limits, strict=True)]
    assert summarise(ratios[:3]) == pytest.approx((1.2, 1.2, 1.2))
    assert summarise(ratios).median == pytest.approx(1.2)


def test_harmonic_mean_is_the_rate_over_equal_work() -> None:
    # 12 units at 2 a second and 12 at 6 a second: 24 units in 8 seconds.
    assert harmonic_mean(2.0, 6.0) == pytest.approx(24 / 8)


def test_scaling_of_two_workers() -> None:
    assert scaling(alone=(10.0, 10.0), together=(9.0, 9.0)) == pytest.approx(1.8)
    assert scaling(alone=(8.0, 12.0), together=(8.0, 12.0)) == pytest.approx(2.0)


def test_share_of_serial_rate() -> None:
    # 10 ms and 2.5 ms a turn allow 80 turns a second.
    assert share_of_serial_rate(72.0, 100.0, 400.0) == pytest.approx(0.9)


def test_bars() -> None:
    samples = [0.70, 0.72, 0.75]
    assert Quantity("ratio", samples, at_least=0.72).met is True
    assert Quantity("ratio", samples, at_least=0.73).met is False
    assert Quantity("time", samples, "s", below=0.72).met is False
    assert Quantity("time", samples, "s", below=0.73).met is True
    assert Quantity("no bar", samples).met is None


class TestGpu:
    """`benchmarks.gpu` at the scale of a CPU, where its times say nothing."""

    def test_agents_are_updated_as_in_training_and_alone(self) -> None:
        for _, update in gpu.programs(2):
            update()

    def test_forms_of_a_sparse_layer_compute_the_same(self) -> None:
        _, *sparse = gpu.layer_forms(0.95)
        losses = {name: float(step()[0]) for name, step in sparse}
        assert set(losses) == {"masked dense", "gathered inputs", "BCOO"}
        assert list(losses.values()) == pytest.approx([losses["masked dense"]] * 3, rel=1e-4)

    def test_without_a_gpu_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["gpu.py"])
        with pytest.raises(SystemExit) as stopped:
            gpu.main()
        assert stopped.value.code == 2
        assert "uv sync --extra cuda12" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("model name\t: Fast 9000\ncpu family\t: 6\nmodel\t\t: 207\n", "Fast 9000 (family 6, model 207)"),
        ("model name\t: Fast 9000\n", "Fast 9000"),
        ("Hardware\t: board\n", "arm"),
    ],
)
def test_a_processor_has_its_family_and_model(
    info: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{info}")
    monkeypatch.setattr("rlottery.study.versions._PROCESSORS", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.processor_name() == name


def test_two_versions_in_turns_by_the_median_of_the_later_rounds() -> None:
    of_old, of_new = (9.0, 4.0, 6.0, 2.0), (8.0, 2.0, 3.0, 2.5)
    times = [
        Time(version, "run", number, wall, 2 * wall)
        for version, of in (("old", of_old), ("new", of_new))
        for number, wall in enumerate(of)
    ]
    assert lines(times) == [
        "run     first: 9.00 s -> 8.00 s (1.12 times as fast), processors 18.00 s -> 16.00 s",
        "run     later: 4.00 s -> 2.50 s (1.60 times as fast), processors 8.00 s -> 5.00 s",
    ]


def test_one_library_is_compared_with_the_curves_of_the_other_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(against_sb3, "RESULTS", tmp_path)
    for library in ("ours", "sb3"):
        (tmp_path / library).mkdir()

    def write(path: Path, *returns: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"kind": "evaluation", "env_steps": 10 * i, "return": of} for i, of in enumerate(returns)]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def ours(seed: int) -> Path:
        return tmp_path / "ours" / "runs" / "Pole-v1" / f"seed_{seed}" / "dense" / "metrics.jsonl"

    def compare(name: str, *folders: str) -> dict[str, dict[int, list[float]]]:
        arguments = [word for folder in folders for word in (f"--{folder}", str(tmp_path / folder))]
        monkeypatch.setattr("sys.argv", ["against_sb3", name, *arguments])
        against_sb3.main()
        found = against_sb3.read_table(tmp_path / f"against_sb3_{name}.csv")["Pole-v1"]
        return {of: {seed: list(curve.values()) for seed, curve in runs.items()} for of, runs in found.items()}

    write(tmp_path / "sb3" / "Pole-v1-0.jsonl", 1, 2, 3, 4)
    write(tmp_path / "sb3" / "Pole-v1-1.jsonl", 2, 3, 4, 5)
    assert compare("ppo", "sb3") == {THEIRS: {0: [1, 2, 3, 4], 1: [2, 3, 4, 5]}}
    assert "difference" not in capsys.readouterr().out
    write(ours(0), 5, 6, 7, 8)
    write(ours(1), 5, 6, 7)  # still running
    assert compare("ppo", "ours") == {THEIRS: {0: [1, 2, 3, 4], 1: [2, 3, 4, 5]}, OURS: {0: [5, 6, 7, 8]}}
    write(ours(1), 5, 6, 7, 7)
    assert compare("ppo_tanh", "ours")[OURS] == {0: [5, 6, 7, 8], 1: [5, 6, 7, 7]}, "its own table begins with theirs"
    assert "difference +4 [" in capsys.readouterr().out
    write(ours(2), 5, 6, 7, 8)
    assert set(compare("ppo", "ours", "sb3")[OURS]) == {0, 1}, "of two folders, only what both have trained"
