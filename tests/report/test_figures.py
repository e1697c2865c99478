import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from rlottery.analysis.runs import Run, read_runs
from rlottery.config import Config
from rlottery.report.figures import learning_curves, mean_curve, spread
from rlottery.report.files import write_report
from rlottery.report.gather import gather
from rlottery.storage.paths import Store
from tests.analysis.stores import config, returns, success, write_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def runs(store: Store, settings: Config) -> dict[str, list[Run]]:
    return {task.id: read_runs(store, task.name, settings.seeds) for task in settings.tasks}


def svg(store: Store, settings: Config) -> str:
    """Draw, look whether both files are pictures with something on them, and give the SVG."""
    path = store.report / "learning_curves.png"
    learning_curves(runs(store, settings), settings, path)
    pixels = imread(path)
    assert pixels[..., :3].min() < 0.5 and pixels[..., :3].max() == 1.0
    return path.with_suffix(".svg").read_text()


class TestMeanCurve:
    def test_equal_steps(self) -> None:
        steps = np.array([0.0, 100.0, 200.0])
        grid, mean = mean_curve([(steps, np.array([0.0, 1.0, 1.0])), (steps, np.array([0.0, 0.0, 0.5]))])
        assert grid.tolist() == [0, 100, 200]
        assert mean.tolist() == [0.0, 0.5, 0.75]

    def test_unequal_steps_end_where_the_shortest_ends(self) -> None:
        long = np.array([0.0, 100.0, 200.0, 300.0]), np.array([0.0, 1.0, 2.0, 9.0])
        short = np.array([0.0, 150.0, 250.0]), np.array([0.0, 3.0, 3.0])
        grid, mean = mean_curve([long, short])
        assert grid.tolist() == [0, 100, 150, 200, 250]
        # At 100 the short one is at 2, at 150 the long one at 1.5, at 250 at 5.5.
        assert mean.tolist() == [0.0, 1.5, 2.25, 2.5, 4.25]

    def test_one_curve_is_its_own_mean(self) -> None:
        grid, mean = mean_curve([(np.array([0.0, 50.0]), np.array([1.0, 2.0]))])
        assert (grid.tolist(), mean.tolist()) == ([0, 50], [1, 2])


class TestSpread:
    def test_what_is_apart_stays(self) -> None:
        assert spread([0.9, 0.1, 0.5], gap=0.1) == [0.9, 0.1, 0.5]

    def test_a_cluster_opens_around_its_mean(self) -> None:
        assert spread([0.5, 0.52], gap=0.1) == pytest.approx([0.46, 0.56])

    def test_it_stays_within_the_panel_and_the_first_of_equals_lies_highest(self) -> None:
        assert spread([1.0, 1.0, 1.0], gap=0.1) == pytest.approx([1.0, 0.9, 0.8])

    def test_a_cluster_that_opens_into_another_joins_it(self) -> None:
        # Apart from each other, 0.50 and 0.51 would come to 0.455 and 0.555: too near to 0.6.
        assert spread([0.5, 0.51, 0.6], gap=0.1) == pytest.approx([0.4366667, 0.5366667, 0.6366667])

    def test_too_many_share_the_room(self) -> None:
        assert spread([0.5] * 5, gap=0.5) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])

    @pytest.mark.parametrize("heights", [[], [0.3]])
    def test_nothing_to_move(self, heights: list[float]) -> None:
        assert spread(heights, gap=0.1) == heights


class TestLearningCurves:
    def test_png_of_150_dpi_and_svg(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 0.5, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 0.1, 0.6, 0.9))
        assert "<svg" in svg(store, config())
        height, width, _ = imread(store.report / "learning_curves.png").shape
        assert (width, height) == (1200, 682)

    def test_the_same_store_gives_the_same_files(self, store: Store, tmp_path: Path) -> None:
        write_run(store, "dense", 0, success(0.0, 0.5, 1.0, 1.0))
        first, again = tmp_path / "first.png", tmp_path / "again.png"
        learning_curves(runs(store, config()), config(), first)
        learning_curves(runs(store, config()), config(), again)
        assert first.read_bytes() == again.read_bytes()
        assert first.with_suffix(".svg").read_bytes() == again.with_suffix(".svg").read_bytes()

    def test_several_tasks_with_missing_arms_failures_and_unequal_steps(self, store: Store) -> None:
        settings = config(["reach-v3", "Pendulum-v1", "push-v3"], (0, 1))
        write_run(store, "dense", 0, success(0.0, 0.5, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.5))
        write_run(store, "magnitude-80", 0, success(0.0, 0.5), error="diverged")
        write_run(store, "taylor-80", 0, returns(-1200, -300, -200, -150), task="Pendulum-v1")
        drawn = svg(store, settings)
        for said in ("Cross: failed run", "magnitude-80 (not finished)", "taylor-80 (1 of 2 seeds)"):
            assert said in drawn
        assert "no evaluation yet" in drawn

    @pytest.mark.parametrize("count", [1, 9, 24])
    def test_one_seed_and_many_arms(self, store: Store, count: int) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0))
        for percent in range(50, 50 + count):
            write_run(store, f"magnitude-{percent}", 0, success(0.0, 1.0))
        assert "One seed" in svg(store, config(seeds=(0,)))

    def test_no_runs(self, store: Store) -> None:
        assert "no evaluation yet" in svg(store, config())

    def test_an_untrained_policy_alone(self, store: Store) -> None:
        write_run(store, "dense", 0, returns(-1200), error="diverged at once")
        svg(store, config(seeds=(0,)))


def test_write_report(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "dense", 1, success(0.0, 1.0), error="diverged")
    settings = config()
    paths = write_report(store.report, settings, gather(store, settings))
    names = ["comparison.md", "learning_curves.png", "learning_curves.svg", "comparison.csv", "comparison.json"]
    assert paths == [store.report / name for name in ("report.html", *names)]
    assert {path.name for path in store.report.iterdir()} == {"report.html", *names, "figures", "tables"}
    assert json.loads(paths[-1].read_bytes())["tasks"][0]["untrained"] == 0.0
