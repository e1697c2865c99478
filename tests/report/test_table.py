import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from rlottery.analysis.comparison import Comparison, compare
from rlottery.config import Config
from rlottery.report.table import render, to_markdown
from rlottery.report.words import expectation, headline, share_lines, sparsity_text
from rlottery.store import Store
from tests.analysis.stores import config, returns, success, write_mask, write_run

NUMBER = re.compile(r"[-+]?\d[\d.,]*")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def shown(comparison: Comparison, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(render(comparison))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    return str(text)


def pendulum(store: Store, settings: Config) -> Comparison:
    """Long negative numbers, two sparsities, a failed run."""
    for i, seed in enumerate(settings.seeds):
        dense = -130.25 - i
        write_run(store, "dense", seed, returns(-1234.5, dense, dense, dense), task="Pendulum-v1")
        for percent, loss in ((80, 100), (95, 1000)):
            for criterion, factor in (("magnitude", 2), ("taylor", 1)):
                score = dense - loss * factor
                rows = returns(-1234.5, score, score, score)
                write_run(store, f"{criterion}-{percent}", seed, rows, task="Pendulum-v1")
    last = settings.seeds[-1]
    error = "critic_loss became NaN [bold]at[/bold] step 11,000.\nLower it."
    write_run(store, "taylor-95", last, returns(-1234.5), task="Pendulum-v1", error=error)
    return compare(store, settings)


class TestHeadline:
    def test_two_tickets(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 0.9, 0.96, 0.98))
            write_run(store, "taylor-80", seed, success(0.0, 1.0, 1.0, 1.0))
        assert headline(compare(store, config())) == [
            "reach-v3: at 80 % sparsity the magnitude tickets reached 0.97 and the taylor tickets 1.00 "
            "of the dense agents' success over 2 seeds.",
            "An illustration, not a verdict.",
        ]

    def test_many_tickets_give_the_range(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        for percent, rate in ((50, 1.0), (80, 0.75), (90, 0.5), (95, 0.25), (98, 0.0)):
            write_run(store, f"magnitude-{percent}", 0, success(0.0, rate, rate, rate))
        assert headline(compare(store, config(seeds=(0,))))[0] == (
            "reach-v3: 5 arms reached from 0.00 (magnitude-98) to 1.00 (magnitude-50) "
            "of the dense agents' success over 1 seed."
        )

    def test_dense_did_not_learn(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        (line,) = headline(compare(store, config(seeds=(0,))))
        assert line == (
            "reach-v3: the dense agents did not learn (success rate 0.00 untrained, 0.00 trained, over 1 seed), "
            "so their tickets can't be judged."
        )

    def test_a_dense_agent_that_did_not_learn_and_failures_are_told(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 0.5, 0.5, 0.5))
        write_run(store, "magnitude-80", 1, [], error="diverged")
        line = headline(compare(store, config()))[0]
        assert line.endswith("over 1 seed. The dense agent of seed 1 did not learn. 1 of 4 runs failed.")

    def test_no_runs(self, store: Store) -> None:
        assert headline(compare(store, config())) == ["reach-v3: no run is done yet."]

    def test_five_seeds_are_no_verdict_either(self, store: Store) -> None:
        settings = config(seeds=range(5))
        for seed in settings.seeds:
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 1.0, 1.0, 1.0))
        assert headline(compare(store, settings))[1] == "No test was made: these are the numbers as they stand."


class TestExpectation:
    def test_without_pairs_it_says_how_to_get_them(self, store: Store) -> None:
        write_run(store, "magnitude-80", 0, success(0.0, 1.0))
        command = expectation(compare(store, config()))[-1]
        assert command == "--pruning-method gradient"

    def test_the_method_that_lacks_is_named(self, store: Store) -> None:
        write_run(store, "taylor-80", 0, success(0.0, 1.0))
        assert expectation(compare(store, config()))[-1].endswith("--pruning-method magnitude")

    def test_pairs_and_trend(self, store: Store) -> None:
        for seed, at_95 in ((0, 0.6), (1, 0.4)):
            write_run(store, "magnitude-80", seed, success(0.0, 0.5, 0.5, 0.5))
            write_run(store, "taylor-80", seed, success(0.0, 0.5, 0.5, 0.5))
            write_run(store, "magnitude-95", seed, success(0.0, 0.5, 0.5, 0.5))
            write_run(store, "taylor-95", seed, success(0.0, at_95, at_95, at_95 + 0.2))
        assert expectation(compare(store, config())) == [
            "Gradient was ahead of magnitude on average in 1 of 2 comparisons, level in 1.",
            "reach-v3: taylor-80 - magnitude-80 = +0.00 in success (seed 0: +0.00, seed 1: +0.00); "
            "ahead in 0 of 2 seeds, level in 2.",
            "reach-v3: taylor-95 - magnitude-95 = +0.10 in success (seed 0: +0.20, seed 1: +0.00); "
            "ahead in 1 of 2 seeds, level in 1.",
            "reach-v3: with sparsity the mean difference taylor - magnitude grew "
            "(+0.00 at 80 %, +0.10 at 95 %; 2 seeds).",
            "With fewer than 5 seeds this illustrates, and decides nothing.",
        ]


def test_a_study_that_lists_its_arms_is_not_told_of_the_guides_option(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
    listed = {"arms": [{"criterion": "magnitude", "sparsity": 0.8}]}
    plain = config(seeds=(0,)).model_dump(mode="json", exclude={"pruning"})
    settings = Config.model_validate(plain | listed)
    (line,) = expectation(compare(store, settings))
    assert "--pruning-method" not in line
    assert "list a magnitude and a taylor ticket of the same sparsity" in line


class TestShares:
    def test_arms_without_one_for_the_same_reason_share_a_line(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        for arm in ("magnitude-80", "taylor-80"):
            write_run(store, arm, 0, success(0.0, 1.0, 1.0, 1.0))
        task = compare(store, config(seeds=(0,))).tasks[0]
        assert share_lines(task) == ["2 arms have no share of dense: dense did not learn."]


class TestTerminal:
    @pytest.mark.parametrize("width", [60, 80, 120])
    @pytest.mark.parametrize("seeds", [1, 2, 3, 10])
    def test_no_number_is_broken(self, store: Store, width: int, seeds: int) -> None:
        comparison = pendulum(store, config(["Pendulum-v1"], range(seeds)))
        wide, narrow = shown(comparison, 1000), shown(comparison, width)
        assert set(NUMBER.findall(narrow)) <= set(NUMBER.findall(wide))
        assert "…" not in narrow

    @pytest.mark.parametrize("width", [80, 120])
    def test_every_score_is_shown(self, store: Store, width: int) -> None:
        table = shown(pendulum(store, config(["Pendulum-v1"], (0, 1, 2))), width)
        # Dense -130.25, -131.25, -132.25; taylor-80 lies 100 below.
        (dense,) = [line for line in table.splitlines() if line.startswith("dense ")]
        assert " ".join(dense.split()) == "dense - -131 -132 to -130 -130 -131 -132 3/3"
        (taylor,) = [line for line in table.splitlines() if line.startswith("taylor-80 ")]
        # (-231.25 + 1234.5) / (-131.25 + 1234.5)
        assert " ".join(taylor.split()) == "taylor-80 80 % -231 -232 to -230 -230 -231 -232 0.91 3/3"

    def test_failures_stand_in_the_table_and_below_it(self, store: Store) -> None:
        table = shown(pendulum(store, config(["Pendulum-v1"], (0, 1))), 120)
        (row,) = [line for line in table.splitlines() if line.startswith("taylor-95 ")]
        assert row.split()[-3:] == ["failed", "0.09", "1/2"]
        said = "Failed: taylor-95, seed 1: critic_loss became NaN [bold]at[/bold] step 11,000. Lower it."
        assert said in table

    def test_long_arm_names_give_way_to_numbers(self, store: Store) -> None:
        name = "taylor-80-with-a-very-long-name-of-an-arm-50x256"
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, name, 0, success(0.0, 0.25, 0.25, 0.25))
        table = shown(compare(store, config(seeds=(0,))), 60)
        assert re.search(r"0\.25 +0\.25 +0\.25", table)

    def test_overlap(self, store: Store) -> None:
        for name, kept in (("magnitude-80", [0, 1, 2]), ("taylor-80", [0, 3])):
            write_run(store, name, 0, success(0.0, 1.0))
            write_mask(store.run("reach-v3", 0, name).mask, kept)
        # One of four shared; by chance 3 * 2 / 10 = 0.6 of 4.4.
        said = "overlap 0.25 (Jaccard, mean of 1 seed); chance would give 0.14."
        assert said in shown(compare(store, config()), 120)

    def test_no_runs(self, store: Store) -> None:
        assert "no run is done yet" in shown(compare(store, config()))


class TestMarkdown:
    def test_table(self, store: Store) -> None:
        for seed, rate in ((0, 0.9), (1, 0.5)):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, rate, rate, rate))
        page = to_markdown(compare(store, config()))
        assert (
            "| Arm | Sparsity | Success | Min to max | Seed 0, 1 | Of dense | Runs |\n"
            "| :-- | --: | --: | --: | :-- | --: | --: |\n"
            "| dense | - | 1.00 | 1.00 to 1.00 | 1.00, 1.00 |  | 2/2 |\n"
            "| magnitude-80 | 80 % | 0.70 | 0.50 to 0.90 | 0.90, 0.50 | 0.70 | 2/2 |\n"
        ) in page
        assert page.index("reached 0.70") < page.index("| Arm |")
        assert "`--pruning-method gradient`" in page

    def test_errors_are_text(self, store: Store) -> None:
        write_run(store, "dense", 0, [], error="a | b\n# c <script> `d` \x1b[31m")
        page = to_markdown(compare(store, config()))
        assert r"a \| b \# c \<script\> \`d\` \[31m" in page


@pytest.mark.parametrize(
    ("actor", "critic", "text"),
    [
        (0.8, 0.8, "80 %"),
        (0.80003, 0.79998, "80 %"),
        (0.9, 0.5, "90 / 50 %"),
        (0.975, 0.975, "97.5 %"),
        (0.9995, 0.9995, "99.95 %"),
        (0.0, 0.0, "0 %"),
    ],
)
def test_sparsity_as_text(actor: float, critic: float, text: str) -> None:
    assert sparsity_text({"actor": actor, "critic": critic}) == text
