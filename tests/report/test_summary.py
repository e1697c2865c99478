"""The summary of a study in terminals and as Markdown."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import ttest_ind

from rlottery.analysis.digits import MINUS
from rlottery.analysis.runs import read_runs
from rlottery.analysis.scores import score_tasks
from rlottery.config import Config
from rlottery.report.answer import QUESTION
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.files import write_report
from rlottery.report.score_tables import run_table
from rlottery.report.summary import summarise, summary_to_markdown
from rlottery.report.table_formats import to_csv
from rlottery.report.task_sentences import not_normalised_lines, task_lines
from rlottery.report.wording import NOTHING, sparsity_text
from rlottery.storage.paths import Store
from tests.analysis.stores import config, returns, success, write_mask, write_run
from tests.report.contents import contents as made

CONTROL = {"control": "random", "of": {"criterion": "magnitude", "sparsity": {"actor": 0.9, "critic": 0.9}}}
ROOT = Path(__file__).parents[2]
NUMBER = re.compile(rf"[-+{MINUS}]?\d[\d.,]*")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def shown(contents: Contents, width: int = 80, height: int = 100) -> str:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(Closing(summarise(contents)))
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
    return collect(store, settings)


def committed(study: str) -> dict[str, tuple[float, ...]]:
    """The scores of a committed study of one task: arm -> score of each seed."""
    rows = csv.DictReader((ROOT / f"results/{study}/comparison.csv").read_text().splitlines())
    scores: dict[str, tuple[float, ...]] = {}
    for row in rows:
        scores[row["arm"]] = (*scores.get(row["arm"], ()), float(row["score"]))
    return scores


def with_control(
    store: Store,
    settings: Config,
    scores: dict[str, tuple[float, ...]],
    rows: Callable[..., list[dict[str, Any]]],
    untrained: float,
) -> Contents:
    """A study of one task with a ticket at 90 % and its random control, by their scores."""
    task = settings.tasks[0].name
    for arm, of_arm in scores.items():
        for seed, score in zip(settings.seeds, of_arm, strict=True):
            facts = {"recipe": CONTROL} if arm == "random-90" else {}
            write_run(store, arm, seed, rows(untrained, score, score, score), task=task, **facts)
            if arm != "dense":
                write_mask(store.run(task, seed, arm).mask, [seed])
    return collect(store, settings)


def lines_of(store: Store, of: Config) -> list[str]:
    runs = {task.id: read_runs(store, task.name, of.seeds) for task in of.tasks}
    return task_lines(score_tasks(of, runs), len(of.seeds))


class TestTaskLines:
    def test_two_tickets(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 0.9, 0.96, 0.98))
            write_run(store, "taylor-80", seed, success(0.0, 1.0, 1.0, 1.0))
        assert lines_of(store, config()) == [
            "reach-v3: at 80 % sparsity, the normalised score is 0.97 for magnitude and 1.00 for taylor over 2 seeds.",
        ]

    def test_many_tickets_give_the_range(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        for percent, rate in ((50, 1.0), (80, 0.75), (90, 0.5), (95, 0.25), (98, 0.0)):
            write_run(store, f"magnitude-{percent}", 0, success(0.0, rate, rate, rate))
        assert lines_of(store, config(seeds=(0,)))[0] == (
            "reach-v3: the normalised scores of 5 arms range from 0.00 (magnitude-98) to 1.00 (magnitude-50) "
            "over 1 seed."
        )

    def test_dense_did_not_learn(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        (line,) = lines_of(store, config(seeds=(0,)))
        assert line == (
            "reach-v3: the dense agents can't be shown to have learned (success rate 0.00 untrained, 0.00 trained, "
            "over 1 seed), so their tickets are compared with random masks alone."
        )

    def test_a_dense_agent_that_did_not_learn_and_failures_are_reported(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "dense", 1, success(0.0, 0.0, 0.0, 0.0))
        write_run(store, "magnitude-80", 0, success(0.0, 0.5, 0.5, 0.5))
        write_run(store, "magnitude-80", 1, [], error="diverged")
        line = lines_of(store, config())[0]
        assert line.endswith("The dense agent with seed 1 can't be shown to have learned. 1 of 4 runs failed.")

    def test_no_runs(self, store: Store) -> None:
        assert lines_of(store, config()) == ["reach-v3: no run is done yet."]

    def test_tasks_without_runs_share_a_line(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        lines = lines_of(store, config(["reach-v3", "push-v3", "door-open-v3"]))
        assert lines[1:] == ["push-v3, door-open-v3: no run is done yet."] and lines[0].startswith("reach-v3: ")


def closing(contents: Contents) -> tuple[str, ...]:
    """The answer to the closing question. What is to be typed ends the closing text, too."""
    answer = summarise(contents).answer
    assert answer[-1].lower() in shown(contents, 1000).lower()
    return answer


class TestVerdictInWords:
    def test_few_seeds_decide_nothing(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, 1.0, 1.0, 1.0))
        table = shown(collect(store, config()), 1000)
        assert "Nothing is decided." in table
        assert "only 2 seeds have a finished dense agent, and 5 are needed" in table

    def test_a_loss_is_reported(self, store: Store) -> None:
        settings = config(seeds=range(5))
        for seed, rate in zip(settings.seeds, (0.1, 0.2, 0.1, 0.0, 0.15), strict=True):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, rate, rate, rate))
        told = shown(collect(store, settings), 1000)
        assert "On reach-v3, magnitude-80 is worse than dense agents by more than the margin. " in told
        assert "the random masks with the layer counts of magnitude-80, which the config asks for, are not fin" in told
        without = settings.model_copy(update={"pruning": settings.pruning.model_copy(update={"controls": ()})})
        assert "add random masks with the layer counts of magnitude-80" in shown(collect(store, without), 1000)

    def test_tickets_that_beat_random_masks_by_far_and_are_open_against_dense(self, store: Store) -> None:
        """The scores of the positive control: Pendulum-v1 with 50 noise inputs."""
        scores = committed("positive-control")
        settings = config(["Pendulum-v1"], range(5))
        told = shown(with_control(store, settings, scores, returns, -1200), 1000)
        ticket, random = scores["magnitude-90"], scores["random-90"]
        difference, welch = mean(ticket) - mean(random), ttest_ind(ticket, random, equal_var=False)
        low, high = (f"{bound:+,.0f}" for bound in welch.confidence_interval(0.9))
        assert told.startswith(
            "On Pendulum-v1, magnitude-90 is better than random masks with the same layer counts. Whether it matches "
            "dense agents is open."
        )
        assert f"{difference:+,.0f} [{low}, {high}]" in told

    def test_random_masks_that_beat_dense_agents_and_tickets_that_are_far_worse(self, store: Store) -> None:
        """As on reach-v3 at 90 %, ERK."""
        dense, random = (0.8, 0.73, 0.4, 0.5, 0.57), (1.0, 0.83, 0.8, 0.9, 0.87)
        scores = {"dense": dense, "magnitude-90": (0.13, 0.13, 0.0, 0.1, 0.09), "random-90": random}
        told = shown(with_control(store, config(seeds=range(5)), scores, success, 0.0), 1000)
        assert "On reach-v3, magnitude-90 is far worse than random masks with the same layer counts" in told
        assert "\N{MINUS SIGN}0.79 [" in told
        assert f"On reach-v3, random masks beat dense agents: random-90 by {mean(random) - mean(dense):.2f} [" in told
        assert f"Holm-corrected p = {ttest_ind(random, dense, equal_var=False).pvalue:.3f}" in told

    def test_before_there_is_a_ticket_nothing_is_said_of_any(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        assert "decided" not in shown(collect(store, config()), 1000)


class TestClosingQuestion:
    def test_without_pairs_it_says_how_to_get_them(self, store: Store) -> None:
        write_run(store, "magnitude-80", 0, success(0.0, 1.0))
        assert closing(collect(store, config()))[-1] == "--pruning-method gradient"

    def test_the_method_that_lacks_is_named(self, store: Store) -> None:
        write_run(store, "taylor-80", 0, success(0.0, 1.0))
        assert closing(collect(store, config()))[-1] == "--pruning-method magnitude"

    def test_where_dense_did_not_learn_there_is_no_answer(self, store: Store) -> None:
        for arm in ("dense", "magnitude-80", "taylor-80"):
            write_run(store, arm, 0, success(0.0, 0.0, 0.0, 0.0))
        told = closing(collect(store, config()))
        assert told == ("The methods can't be compared on reach-v3: dense agents can't be shown to have learned.",)

    @pytest.mark.parametrize("arms", [["magnitude-80"], ["taylor-80"], ["magnitude-80", "taylor-90"]])
    def test_a_study_that_lists_its_arms_is_asked_if_it_has_both_methods(self, store: Store, arms: list[str]) -> None:
        for arm in ("dense", *arms):
            write_run(store, arm, 0, success(0.0, 1.0, 1.0, 1.0))
        listed = [{"criterion": arm.split("-")[0], "sparsity": int(arm.split("-")[1]) / 100} for arm in arms]
        plain = config(seeds=(0,)).model_dump(mode="json", exclude={"pruning"})
        contents = collect(store, Config.model_validate(plain | {"arms": listed}))
        if len(arms) == 1:
            assert "radient" not in shown(contents) and QUESTION not in summary_to_markdown(summarise(contents))
        else:
            assert closing(contents)[0].startswith(
                "There is nothing to compare: no magnitude ticket and gradient ticket"
            )

    def test_differences_come_with_their_numbers(self, store: Store) -> None:
        for seed in range(5):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            for percent, rates in ((80, (0.5, 0.55)), (95, (0.2, 0.6 + seed / 50))):
                for arm, rate in zip(("magnitude", "taylor"), rates, strict=True):
                    write_run(store, f"{arm}-{percent}", seed, success(0.0, rate, rate, rate))
        told = closing(collect(store, config(seeds=range(5))))
        assert "gradient is shown to be better than magnitude at 80 %" in told[0].lower()
        assert "taylor-95 \N{MINUS SIGN} magnitude-95 = +0.44" in told[2]  # 0.6 + mean(0 .. 0.08) - 0.2
        assert "advantage of taylor over magnitude grows with sparsity" in told[3]


class TestNormalisedScores:
    def test_arms_without_one_share_a_line(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 0.0, 0.0, 0.0))
        for arm in ("magnitude-80", "taylor-80"):
            write_run(store, arm, 0, success(0.0, 1.0, 1.0, 1.0))
        (task,) = collect(store, config(seeds=(0,))).scores
        assert not_normalised_lines(task) == [
            "2 arms have no normalised score: dense agents can't be shown to have learned."
        ]


def cells(table: str, arm: str) -> list[str]:
    """The words of an arm's row, which may continue on further lines."""
    (found,) = re.findall(rf"^({arm} (?!{MINUS}).*\n(?: .*\n)*)", table, re.M)
    return sorted(found.replace(MINUS, "-").split())


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
        # Dense -130.25, -131.25, -132.25; taylor-80 is 100 below, at (-231.25 + 1234.5) / (-131.25 + 1234.5).
        assert cells(table, "dense") == sorted(f"dense {NOTHING} -131 -132 to -130 -130, -131, -132 1.00 3/3".split())
        told = "taylor-80 80 % -231 -232 to -230 -230, -231, -232 0.91 3/3"
        assert cells(table, "taylor-80") == sorted(told.split())

    def test_of_many_seeds_the_missing_ones_are_counted(self, store: Store) -> None:
        for seed in (0, 2):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
        assert "1.00, 1.00, 4 missing" in shown(collect(store, config(seeds=range(6))), 120)
        assert "1.00, missing, 1.00" in shown(collect(store, config(seeds=range(3))), 120)

    def test_failures_are_in_the_table_and_below_it(self, store: Store) -> None:
        table = shown(pendulum(store, config(["Pendulum-v1"], (0, 1))), 120)
        (row,) = [line for line in table.splitlines() if re.match(f"taylor-95 (?!{MINUS})", line)]
        assert row.split()[-3:] == ["failed", "0.09", "1/2"]
        said = "Failed: taylor-95, seed 1: critic_loss became NaN [bold]at[/bold] step 11,000. Lower it."
        assert said in table

    def test_long_arm_names_give_way_to_numbers(self, store: Store) -> None:
        name = "taylor-80-with-a-very-long-name-of-an-arm-50x256"
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, name, 0, success(0.0, 0.25, 0.25, 0.25))
        table = shown(collect(store, config(seeds=(0,))), 60)
        assert "Success: 0.25; Min to max: \N{EN DASH}; Seed 0: 0.25; Normalised: 0.25" in " ".join(table.split())

    def test_overlap(self, store: Store) -> None:
        for name, kept in (("magnitude-80", [0, 1, 2]), ("taylor-80", [0, 3, 4])):
            write_run(store, name, 0, success(0.0, 1.0))
            write_mask(store.run("reach-v3", 0, name).mask, kept)
        # One of five shared; by chance 3 * 3 / 10 = 0.9 of 5.1.
        said = "Mask overlap of magnitude-80 and taylor-80: Jaccard index 0.20 (1 seed); random masks would have 0.18."
        assert said in shown(collect(store, config()), 120)

    def test_a_damaged_mask_is_named(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "magnitude-80", 0, success(0.0, 1.0, 1.0, 1.0))
        store.run("reach-v3", 0, "magnitude-80").mask.write_bytes(b"no mask")
        assert "mask.pkl can't be used as a mask" in shown(collect(store, config(seeds=(0,))), 1000)

    def test_no_runs(self, store: Store) -> None:
        assert "no run is done yet" in shown(collect(store, config()))


class TestOneScreen:
    """The closing text of a command leaves room on a screen of 80 x 24 for the path of the page and the next prompt."""

    def test_of_a_study_with_a_ticket_and_its_control(self, store: Store) -> None:
        contents = with_control(store, config(["Pendulum-v1"], range(5)), committed("positive-control"), returns, -1200)
        lines = shown(contents, 80, 24).splitlines()
        assert len(lines) <= 20
        answer = next(place for place, line in enumerate(lines) if "magnitude-90 is better than random" in line)
        first, last = (
            next(p for p, line in enumerate(lines) if line.startswith(arm)) for arm in ("dense ", "random-90 ")
        )
        assert answer < first == last - 2
        assert [line.split()[0] for line in lines[answer:first] if f" {MINUS} " in line] == ["magnitude-90"] * 2
        assert "1 open answer" in " ".join(lines)

    @pytest.mark.parametrize(("size", "more_arms"), [((80, 24), 0), ((60, 24), 40), ((200, 60), 0)])
    def test_of_many_arms_and_tasks(self, size: tuple[int, int], more_arms: int) -> None:
        contents = made(more_arms=more_arms)
        lines = shown(contents, *size).splitlines()
        assert len(lines) <= size[1] - 3
        text, summary = " ".join(" ".join(lines).split()), summarise(contents)
        arms = {arm for task in contents.scores for arm in task.runs} - {"dense"}
        named = {arm for arm in arms if any(line.startswith(f"{arm} ") for line in lines)}
        hidden = re.search(r"(\d+) more arms?", text)
        assert len(named) >= 8 and len(arms - named) == int(hidden[1] if hidden else 0)
        # What there is no room for is counted: limits are whole sentences.
        counted = re.search(r"(\d+) limits?\b", text.split("The page also has")[-1])
        assert int(counted[1] if counted else 0) == sum(limit not in text for limit in summary.limits)

    def test_where_dense_did_not_learn_a_column_has_scores_and_says_so(self, store: Store) -> None:
        for arm in ("dense", *(f"magnitude-{percent}" for percent in range(50, 90))):
            for task, rates in (("reach-v3", (0.0, 1.0, 1.0, 0.5)), ("push-v3", (0.25, 0.25, 0.25, 0.25))):
                write_run(store, arm, 0, success(*rates), task=task)
        lines = shown(collect(store, config(["reach-v3", "push-v3"], seeds=(0,))), 80, 24).splitlines()
        assert "gradient and magnitude" not in " ".join(" ".join(lines).split())  # there is one method
        assert any(line.endswith("  (success)") for line in lines)
        (row,) = (line.split() for line in lines if line.startswith("magnitude-50 "))
        assert row[-2:] == ["1.00", "0.25"]  # normalised, and a success rate

    def test_no_sentence_is_said_twice(self, store: Store) -> None:
        for seed in (0, 1):
            write_run(store, "dense", seed, success(0.0, 0.0, 0.0, 0.0))
            write_run(store, "magnitude-80", seed, success(0.0, 0.0, 0.0, 0.0))
        told = " ".join(shown(collect(store, config()), 80).split())
        assert told.count("shown to have learned") == 1 and "no normalised score" not in told
        sentences = [sentence for sentence in re.split(r"(?<=[.:]) ", told) if len(sentence) > 20]
        assert len(sentences) == len(set(sentences))

    def test_a_failure_that_the_command_has_told_is_not_repeated(self, store: Store) -> None:
        write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
        write_run(store, "magnitude-80", 0, [], error="boom")
        contents = collect(store, config(seeds=(0,)))
        assert summarise(contents).tasks[0].problems == ("Failed: magnitude-80, seed 0: boom",)
        assert summarise(contents, [("reach-v3", 0, "magnitude-80")]).tasks[0].problems == ()

    def test_both_methods_are_not_asked_for_where_both_are(self, store: Store) -> None:
        """With different sparsities, for example, there is no pair to compare."""
        for arm in ("dense", "magnitude-80", "taylor-90"):
            write_run(store, arm, 0, success(0.0, 1.0, 1.0, 1.0))
        (told,) = summarise(collect(store, config(seeds=(0,)))).answer
        assert told.startswith("There is nothing to compare") and "--pruning-method" not in told


class TestMarkdown:
    def test_table(self, store: Store) -> None:
        for seed, rate in ((0, 0.9), (1, 0.5)):
            write_run(store, "dense", seed, success(0.0, 1.0, 1.0, 1.0))
            write_run(store, "magnitude-80", seed, success(0.0, rate, rate, rate))
        page = summary_to_markdown(summarise(collect(store, config())))
        assert (
            "| Arm | Sparsity | Success | Min to max | Seed 0, 1 | Normalised | Runs |\n"
            "| :-- | --: | --: | --: | :-- | --: | --: |\n"
            "| dense | \N{EN DASH} | 1.00 | 1.00 to 1.00 | 1.00, 1.00 | 1.00 | 2/2 |\n"
            "| magnitude-80 | 80 % | 0.70 | 0.50 to 0.90 | 0.90, 0.50 | 0.70 | 2/2 |\n"
        ) in page
        assert page.index("the normalised score is 0.70") < page.index("| Arm |")
        assert "`--pruning-method gradient`" in page

    def test_errors_are_text(self, store: Store) -> None:
        write_run(store, "dense", 0, [], error="a | b\n# c <script> `d` \x1b[31m")
        page = summary_to_markdown(summarise(collect(store, config())))
        assert r"a \| b \# c \<script\> \`d\` \\x1b\[31m" in page


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


def test_write_report(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 1.0, 1.0))
    write_run(store, "dense", 1, success(0.0, 1.0), error="diverged")
    paths = write_report(store.report, collect(store, config()))
    assert paths == [store.report / "report.html", store.report / "comparison.md"]
    assert {path.name for path in store.report.iterdir()} == {
        *("report.html", "comparison.md", "figures", "tables", "report_files.json", ".report_files.json.lock")
    }


def test_a_line_of_csv_for_every_run(store: Store) -> None:
    write_run(store, "dense", 0, success(0.0, 1.0, 0.5, 1.0))
    write_run(store, "magnitude-80", 0, success(0.0, 0.5, 0.25, 0.75), sparsity={"actor": 0.9, "critic": 0.5})
    write_run(store, "magnitude-80", 1, success(0.0), error='"no", it said')
    rows = list(csv.DictReader(io.StringIO(to_csv(run_table(collect(store, config()))))))
    assert [(row["arm"], row["seed"], row["status"], row["score"], row["normalised_score"]) for row in rows] == [
        ("dense", "0", "done", "0.75", "1.0"),
        ("dense", "1", "missing", "", ""),
        ("magnitude-80", "0", "done", "0.5", "0.666666667"),
        ("magnitude-80", "1", "failed", "", ""),
    ]
    assert (rows[2]["sparsity_actor"], rows[2]["sparsity_critic"], rows[0]["sparsity_actor"]) == ("0.9", "0.5", "")
