import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from rlottery.analysis.comparison import compare
from rlottery.config import Config
from rlottery.report.contents import Contents
from rlottery.report.gather import gather
from rlottery.report.sentences import QUESTION
from rlottery.report.table import render, to_markdown
from rlottery.report.words import share_lines, sparsity_text, task_lines
from rlottery.storage.paths import Store
from tests.analysis.stores import config, returns, success, write_mask, write_run

NUMBER = re.compile(r"[-+]?\d[\d.,]*")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def shown(contents: Contents, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(render(contents))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in text.splitlines())
    return str(text)


def pendulum(store: Store, settings: Config) -> Contents:
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
    return gather(store, settings)


class TestHeadline:
    def test_two_tickets(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 0.9, 0.96, 0.98))
            write_run(store, "taylor-80", seed, success(0.0, 1.0, 1.0, 1.0))
        assert task_lines(compare(store, config())) == [
            "reach-v3: at 80 % sparsity the magnitude tickets reached 0.97 and the taylor tickets 1.00 "
            "of the dense agents' success over 2 seeds.",
        ]

    def test_many_tickets_give_the_range(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        for percent, rate in ((50, 1.0), (80, 0.75), (90, 0.5), (95, 0.25), (98, 0.0)):
            write_run(store, f"magnitude-{percent}", 0, success(0.0, rate, rate, rate))
        assert task_lines(compare(store, config(seeds=(0,))))[0] == (
            "reach-v3: 5 arms reached from 0.00 (magnitude-98) to 1.00 (magnitude-50) "
            "of the dense agents' success over 1 seed."
        )

    def test_dense_did_not_learn(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        (line,) = task_lines(compare(store, config(seeds=(0,))))
        assert line == (
            "reach-v3: the dense agents did not learn (success rate 0.00 untrained, 0.00 trained, over 1 seed), "
            "so their tickets can't be judged."
        )

    def test_a_dense_agent_that_did_not_learn_and_failures_are_told(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 0.5, 0.5, 0.5))
        write_run(store, "magnitude-80", 1, [], error="diverged")
        line = task_lines(compare(store, config()))[0]
        assert line.endswith("over 1 seed. The dense agent of seed 1 did not learn. 1 of 4 runs failed.")

    def test_no_runs(self, store: Store) -> None:
        assert task_lines(compare(store, config())) == ["reach-v3: no run is done yet."]


def closing(contents: Contents) -> list[str]:
    """What stands under the closing question."""
    lines = [line.strip() for line in shown(contents, 1000).splitlines()]
    return [line for line in lines[lines.index(QUESTION) + 1 :] if line]


class TestVerdictInWords:
    def test_few_seeds_decide_nothing(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 1.0, 1.0, 1.0))
        table = shown(gather(store, config()), 1000)
        assert "Nothing is decided." in table
        assert "2 seeds with a finished dense agent, and the verdict asks for 5" in table

    def test_a_loss_is_told(self, store: Store) -> None:
        settings = config(seeds=range(5))
        for seed, rate in zip(settings.seeds, (0.1, 0.2, 0.1, 0.0, 0.15), strict=True):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, rate, rate, rate))
        contents = gather(store, settings)
        assert contents.verdicts.pooled[0].decision == "losing"
        assert "Magnitude-80 falls short of dense agents." in shown(contents, 1000).replace(
            "magnitude-80 f", "Magnitude-80 f"
        )

    def test_before_there_is_a_ticket_nothing_is_said_of_any(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        assert "decided" not in shown(gather(store, config()), 1000)


class TestClosingQuestion:
    def test_without_pairs_it_says_how_to_get_them(self, store: Store) -> None:
        write_run(store, "magnitude-80", 0, success(0.0, 1.0))
        assert closing(gather(store, config()))[-1] == "--pruning-method gradient"

    def test_the_method_that_lacks_is_named(self, store: Store) -> None:
        write_run(store, "taylor-80", 0, success(0.0, 1.0))
        assert closing(gather(store, config()))[-1] == "--pruning-method magnitude"

    def test_where_dense_did_not_learn_there_is_no_answer(self, store: Store) -> None:
        for arm in ("dense", "magnitude-80", "taylor-80"):
            write_run(store, arm, 0, success(0.0, 0.0, 0.0, 0.0))
        told = closing(gather(store, config()))
        assert told == ["Where the dense agents did not learn, the methods can't be told apart."]

    def test_a_study_that_lists_its_arms_is_not_told_of_the_guides_option(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        listed = {"arms": [{"criterion": "magnitude", "sparsity": 0.8}]}
        plain = config(seeds=(0,)).model_dump(mode="json", exclude={"pruning"})
        (line,) = closing(gather(store, Config.model_validate(plain | listed)))
        assert "--pruning-method" not in line
        assert "list a magnitude and a taylor ticket of the same sparsity" in line

    def test_differences_stand_with_their_numbers(self, store: Store) -> None:
        for seed in range(5):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            for percent, rates in ((80, (0.5, 0.55)), (95, (0.2, 0.6 + seed / 50))):
                for arm, rate in zip(("magnitude", "taylor"), rates, strict=True):
                    write_run(store, f"{arm}-{percent}", seed, success(0.0, rate, rate, rate))
        told = closing(gather(store, config(seeds=range(5))))
        assert "gradient is shown to be better at 80 %" in told[0].lower()
        assert "taylor-95 \N{MINUS SIGN} magnitude-95 = +0.44" in told[2]  # 0.6 + mean(0 .. 0.08) - 0.2
        assert "advantage over magnitude grows with sparsity" in told[3]


class TestShares:
    def test_arms_without_one_for_the_same_reason_share_a_line(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        for arm in ("magnitude-80", "taylor-80"):
            write_run(store, arm, 0, success(0.0, 1.0, 1.0, 1.0))
        task = compare(store, config(seeds=(0,))).tasks[0]
        assert share_lines(task) == ["2 arms have no share of dense: dense agents can't be shown to have learned."]


class TestTerminal:
    @pytest.mark.parametrize("width", [60, 80, 120])
    @pytest.mark.parametrize("seeds", [1, 2, 3, 10])
    def test_no_number_is_broken(self, store: Store, width: int, seeds: int) -> None:
        contents = pendulum(store, config(["Pendulum-v1"], range(seeds)))
        wide, narrow = shown(contents, 1000), shown(contents, width)
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
        table = shown(gather(store, config(seeds=(0,))), 60)
        assert re.search(r"0\.25 +0\.25 +0\.25", table)

    def test_overlap(self, store: Store) -> None:
        for name, kept in (("magnitude-80", [0, 1, 2]), ("taylor-80", [0, 3, 4])):
            write_run(store, name, 0, success(0.0, 1.0))
            write_mask(store.run("reach-v3", 0, name).mask, kept)
        # One of five shared; by chance 3 * 3 / 10 = 0.9 of 5.1.
        said = "overlap 0.20 (Jaccard, mean of 1 seed); chance would give 0.18."
        assert said in shown(gather(store, config()), 120)

    def test_a_damaged_mask_is_named(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        store.run("reach-v3", 0, "magnitude-80").mask.write_bytes(b"no mask")
        assert "mask.pkl can't be used as a mask" in shown(gather(store, config(seeds=(0,))), 1000)

    def test_no_runs(self, store: Store) -> None:
        assert "no run is done yet" in shown(gather(store, config()))


class TestMarkdown:
    def test_table(self, store: Store) -> None:
        for seed, rate in ((0, 0.9), (1, 0.5)):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, rate, rate, rate))
        page = to_markdown(gather(store, config()))
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
        page = to_markdown(gather(store, config()))
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
