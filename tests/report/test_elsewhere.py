"""Reports on runs that were made elsewhere."""

import csv
import io
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from rlottery.config.judging import judging_from
from rlottery.errors import StudyError
from rlottery.interop.scored_runs import Elsewhere, Row, runs_of
from rlottery.report import files
from rlottery.report.contents import Contents
from rlottery.report.elsewhere import collect_elsewhere, evaluations_per_score, roles_of
from rlottery.report.limits import limits
from rlottery.report.page import report_html, table_files
from rlottery.report.summary import summarise, summary_to_markdown
from tests.command import call, refusal

RESULTS = Path(__file__).parents[2] / "results"
PUBLISHED = ["default", "td3", "ppo", "dqn", "positive-control"]
NOT_OF_SCORES = ("from_start", "why")
"""These need to know which arms have masks, or are in words."""


def table(text: str) -> dict[tuple[str, ...], dict[str, str]]:
    rows = csv.DictReader(io.StringIO(text))
    return {(row["arm"], row["task"], row["question"]): row for row in rows}


def published(name: str) -> tuple[list[Row], dict[tuple[str, ...], dict[str, str]]]:
    """The scores of a committed study, and its answers."""
    folder, rows = RESULTS / name, []
    for row in csv.DictReader((folder / "comparison.csv").read_text().splitlines()):
        run = (row["task"], row["arm"], int(row["seed"]))
        rows += [Row(*run, 0, float(row["untrained"]), "")] if row["untrained"] else []
        rows += [Row(*run, 1000, float(row["score"]), "")] if row["score"] else []
    for row in csv.DictReader((folder / "tables" / "untrained.csv").read_text().splitlines()):
        if row["policies"] == "fresh":
            rows.append(Row(row["task"], "untrained", int(row["number"]), 0, float(row["score"]), ""))
    return rows, table((folder / "tables" / "answers.csv").read_text())


def contents(rows: list[Row], *settings: str, **roles: Any) -> Contents:
    found = Elsewhere(runs_of(rows), sources=("scores.csv",))
    config = judging_from(settings).config(evaluations_per_score(found))
    return collect_elsewhere(found, roles_of(found, **roles), config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_answers_are_those_of_a_study_with_these_scores(name: str) -> None:
    rows, answers = published(name)
    controls: dict[str, tuple[str, ...]] = {}
    for row in answers.values():
        if row["question"] == "against random" and row["against"]:
            controls[row["against"]] = (*controls.get(row["against"], ()), row["arm"])
    made = contents(rows, controls=controls)
    found = table(table_files(made)["tables/answers.csv"].decode())
    compared = 0
    for key, theirs in answers.items():
        ours = found[key]
        if theirs["measure"] == ours["measure"] == "score":
            for column in theirs.keys() - set(NOT_OF_SCORES):
                one, other = _number(ours[column]), _number(theirs[column])
                assert one == (pytest.approx(other, rel=1e-9) if isinstance(other, float) else other), (key, column)
                compared += 1
    assert compared > 40


STEPS = (0, 100, 200, 300)


def rows(worth: dict[str, float], tasks: tuple[str, ...] = ("T",), seeds: int = 6, steps: Any = STEPS) -> list[Row]:
    """Scores that begin near 0 and end near what an arm is worth, with some scatter."""
    return [
        Row(
            task,
            arm,
            seed,
            step,
            (value if step is None or step > 50 else 0.0) + 0.1 * ((7 * seed + index) % 5),
            "s.csv:1",
        )
        for task in tasks
        for arm, value in worth.items()
        for seed in range(seeds)
        for index, step in enumerate(steps)
    ]


WORTH = {"full": 10.0, "lth": 9.9, "rnd": 5.0}


def test_a_page_says_what_can_be_said_without_masks() -> None:
    made = contents(rows(WORTH, ("T", "U")), dense="full", controls={"rnd": ("lth",)})
    text = summary_to_markdown(summarise(made))
    assert "lth is a winning ticket" in text and "The dense agents are those of the arm full." in text
    assert "is not checked: rnd of lth" in text
    page = report_html(made)
    assert "deterministic policy" not in page.partition('id="glossary"')[0] and 'id="curves"' in page
    assert "The runs were made elsewhere" in page and "<li>scores.csv</li>" in page
    for absent in ('id="masks"', 'id="films"', 'id="cost"', "This report is incomplete", "The config, as YAML"):
        assert absent not in page


def test_the_zero_is_the_first_evaluation_if_nothing_is_earlier() -> None:
    made = contents(rows(WORTH, steps=(50, 100, 200, 300, 400)), dense="full")
    assert "the mean of 6 first evaluations of dense agents" in summary_to_markdown(summarise(made))
    [task] = made.scores
    assert task.untrained == pytest.approx(sum(0.1 * (7 * seed % 5) for seed in range(6)) / 6)


def test_final_scores_alone_are_compared_without_a_scale() -> None:
    made = contents(rows(WORTH, steps=(None,)), dense="full", controls={"rnd": ("lth",)})
    assert made.score_evaluations == 1 and made.scores[0].untrained is None
    text = summary_to_markdown(summarise(made))
    assert 'id="curves"' not in report_html(made)
    assert "lth is better than random masks" in text and "an arm of untrained agents: --untrained NAME" in text


def test_two_arms_are_compared_without_a_dense_one() -> None:
    made = contents(rows({"ppo": 5.0, "sac": 9.0}))
    assert summarise(made).lead.startswith("On T, sac is better than ppo by ")
    assert "dense agent is done" not in summary_to_markdown(summarise(made))
    made = contents(rows({"a": 5.0, "b": 9.0, "c": 1.0}), "contrasts=[b > c]")
    assert "On T, b is better than c by" in summary_to_markdown(summarise(made))


def test_sparsities_of_a_column_are_shown() -> None:
    found = Elsewhere(runs_of(rows(WORTH)), sparsity={"full": 0.0, "lth": 0.9, "rnd": 0.9}, sources=("s.csv",))
    made = collect_elsewhere(found, roles_of(found, "full", {"rnd": ("lth",)}), judging_from(()).config(None))
    assert "| lth | 90 % |" in summary_to_markdown(summarise(made))
    assert [run.sparsity for run in made.scores[0].every_run if run.seed == 0] == [None, *[{"weights": 0.9}] * 2]


def test_what_differs_between_runs_is_said() -> None:
    made = [*rows(WORTH), Row("T", "lth", 9, 1000, 9.0, "s.csv:1")]
    text = summary_to_markdown(summarise(contents(made, dense="full")))
    assert "different numbers of seeds: dense 6, lth 7 and rnd 6" in text
    assert "1 run has fewer than 3 evaluations, such as lth, seed 9" in text
    assert "runs end at different steps, from 300 to 1,000" in text
    assert "only 1 seed has" in summary_to_markdown(summarise(contents(rows(WORTH, seeds=1), dense="full")))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "dense": ({"dense": "ful"}, "--dense: there is no arm 'ful' in the files; did you mean 'full'"),
    "control": ({"dense": "full", "controls": {"r": ("lth",)}}, "--control r=lth: there is no arm 'r'"),
    "control of dense": ({"dense": "full", "controls": {"rnd": ("full",)}}, "a control is an arm of random"),
    "nobody": ({}, "Say which one is dense: --dense NAME. Or what to compare: contrasts='[full vs lth, full vs rnd]'"),
}  # fmt: skip


@pytest.mark.parametrize(("roles", "message"), BAD.values(), ids=BAD)
def test_roles_that_make_no_sense(roles: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError) as refused:
        contents(rows(WORTH), **roles)
    assert message in str(refused.value)


def test_where_no_dense_arm_would_help_the_advice_is_what_to_compare() -> None:
    """Without scores of untrained agents, nothing is decided by naming the dense arm."""
    alone = rows(WORTH, steps=(300,))
    with pytest.raises(
        StudyError, match=r"rnd\. Say what to compare: contrasts='\[full vs lth, full vs rnd\]'$"
    ) as refused:
        contents(alone)
    example = str(refused.value).partition("contrasts='")[2].rstrip("'")
    decided = contents(alone, f"contrasts={example}").verdicts.contrasts
    assert [one.text for one in decided] == ["full vs lth", "full vs rnd"]
    named = summary_to_markdown(summarise(contents(alone, dense="full"))).replace("\\", "")
    assert "contrasts='[dense vs lth, dense vs rnd]'" in named
    # The dense arm has its name in the files, too.
    both = [contents(alone, f"contrasts=[{name} > lth]", dense="full") for name in ("full", "dense")]
    assert len({str(one.verdicts.contrasts) for one in both}) == 1
    assert "contrasts=" not in summary_to_markdown(summarise(both[0]))


def test_contrasts_need_no_untrained_scores_which_is_said_once() -> None:
    alone = rows(WORTH, tasks=("T", "U", "V"), steps=(300,))
    text = summary_to_markdown(summarise(contents(alone, dense="full"))).replace("\\", "")
    assert text.count("are not known. Add evaluations at step 0") == 3
    assert text.count("Contrasts need no untrained scores: contrasts='[dense vs lth, dense vs rnd]'") == 1
    assert text.count("contrasts=") == 1
    spaced = rows({"full": 1.0, "one arm": 2.0, "vs": 3.0}, steps=(300,))
    text = summary_to_markdown(summarise(contents(spaced, dense="full")))
    assert "Contrasts need no untrained scores. Contrasts can't name arms with spaces: rename the arms" in text


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        ("full vs dense", "names dense twice in one comparison: 'dense vs dense'. The dense arm is full."),
        ("lth - full > rnd - dense", "names dense twice in one comparison: 'lth - dense > rnd - dense'. The dense arm"),
        ("full > lth > dense > full", "names dense twice in one comparison: 'dense > lth > dense > dense'. The dense"),
        ("full > lth, dense > lth", "dense > lth compares the same as dense > lth in contrasts.0; leave one of"),
        ("lth vs full, dense > lth", "dense > lth compares the same as lth vs dense in contrasts.0; leave one of"),
        ("nix > lth", "there is no arm 'nix'; this study's arms are dense, lth, rnd."),
    ],
)
def test_contrasts_that_make_no_sense_where_the_dense_arm_has_two_names(contrasts: str, message: str) -> None:
    with pytest.raises(StudyError) as refused:
        contents(rows(WORTH), f"contrasts=[{contrasts}]", dense="full")
    assert str(refused.value).startswith(f"contrasts: {message}")


def test_a_renamed_contrast_keeps_its_measure() -> None:
    made = contents(rows(WORTH), "contrasts=[{claim: full > lth, measure: area}, full > lth]", dense="full")
    assert [(one.text, one.measure) for one in made.verdicts.contrasts] == [
        ("dense > lth", "area"), ("dense > lth", "score"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["vs", ">", "-", "the other"])
def test_two_arms_are_compared_whatever_their_names(name: str) -> None:
    made = contents(rows({"ppo": 5.0, name: 9.0}))
    [one] = made.verdicts.contrasts
    assert one.text == f"ppo vs {name}"
    assert not any(name in line for line in limits(made))


@pytest.mark.parametrize(
    ("arms", "example"),
    [
        (("a", "b", "c", "d", "e"), "contrasts='[a vs b, a vs c, a vs d]'"),
        (("a:x", "b#", "[c]"), """contrasts='["a:x vs b#", "a:x vs [c]"]'"""),
        (("it's", "b", "c"), """contrasts='["it'"'"'s vs b", "it'"'"'s vs c"]'"""),
        (("one arm", "b", "c"), "contrasts='[b vs c]'"),
        (("one arm", "b", "the other"), "rename the arms"),
    ],
)
def test_an_example_of_contrasts_can_be_pasted(arms: tuple[str, ...], example: str) -> None:
    alone = rows(dict.fromkeys(arms, 1.0), steps=(300,))
    with pytest.raises(StudyError) as refused:
        contents(alone)
    assert str(refused.value).endswith(example)
    if "contrasts=" in example:
        assert contents(alone, *shlex.split(example)).verdicts.contrasts


def test_runs_that_were_only_evaluated_before_training_or_alone() -> None:
    with pytest.raises(StudyError, match="s.csv:1: arm lth, seed 0 has no evaluation after step 0"):
        contents(rows({"dense": 1.0}) + rows({"lth": 1.0}, steps=(0,)))
    with pytest.raises(StudyError, match="one arm, dense, so there is nothing to compare"):
        contents(rows({"dense": 1.0}))


def test_messages_speak_of_what_the_user_gave() -> None:
    with pytest.raises(StudyError, match="one arm, untrained, so there is nothing to compare"):
        contents(rows({"untrained": 1.0}))
    found = Elsewhere(runs_of(rows(WORTH)), controls={"rnd": ("nope",)}, sources=("s.csv",))
    with pytest.raises(StudyError, match="^rnd is called a control of nope: there is no arm 'nope' in the files"):
        roles_of(found, "full")
    assert roles_of(found, "full", {"rnd": ("lth",)}).controls == {"rnd": ("lth",)}
    assert roles_of(Elsewhere(runs_of(rows({"Dense": 1.0, "dense": 2.0})))).dense == "dense"
    assert roles_of(Elsewhere(runs_of(rows({"Dense": 1.0, "lth": 2.0})))).dense == "Dense"


@pytest.mark.parametrize(
    ("named", "fix"),
    [
        (("scores.csv",), "rlottery compare --csv scores.csv"),
        (("logs/one.NPZ", "study.yaml"), "rlottery compare --csv logs/one.NPZ"),
        (("study.yaml", "my logs", "a.csv"), "rlottery compare --csv 'my logs' a.csv"),
        (("a.csv", "contrasts=[{claim: a > b}]"), "rlottery compare --csv a.csv 'contrasts=[{claim: a > b}]'"),
        (("logs/{arm}/seed_{seed}/monitor",), "rlottery compare --csv 'logs/{arm}/seed_{seed}/monitor'"),
    ],
)
def test_files_of_scores_need_the_flag(
    named: tuple[str, ...], fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my logs/run").mkdir(parents=True)
    Path("my logs/run/progress.csv").touch()
    message = refusal("compare", *named)
    assert message.endswith(f"runs that were made elsewhere: {fix}\n")
    assert ("Studies and files of scores can't be compared with each other." in message) == ("study.yaml" in named)
    assert f"{fix} --dense ..." in refusal("compare", *named, "--dense", "full")
    Path("scores.csv").write_text("task,arm\n")
    assert "scores.csv: the top level must be a mapping of keys to values, so this isn't a config" in refusal(
        "run", "scores.csv"
    )


def test_options_for_files_are_not_suggested_for_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "made elsewhere: rlottery compare --csv FILE --dense ..." in refusal("compare", "a.yaml", "--dense", "full")


def test_two_arms_as_the_docs_show_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (RESULTS.parent / "docs" / "made-elsewhere.md").read_text()
    (table,) = re.findall(r'Path\("two.csv"\).write_text\("""(.*?)"""\)', page, flags=re.S)
    (quoted,) = re.findall(r"^<!-- output -->\n```\n(.*?)^```", page, flags=re.M | re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "92")
    monkeypatch.setattr(files, "write_report", lambda *_: [])
    Path("two.csv").write_text(table)
    code, output, _ = call("compare", "--csv", "two.csv")
    assert code == 0 and output.startswith(quoted) and "Normalised:" not in output.partition("Contrast")[0]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    lines = [f"{row.task},{row.arm},{row.seed},{row.step},{row.score}" for row in rows(WORTH)]
    half = len(lines) // 2
    Path("a.csv").write_text("\n".join(["task,arm,seed,step,score", *lines[:half]]))
    Path("b.csv").write_text("\n".join(["task,algo,run,step,score", *lines[half:]]))
    command = ("compare", "--csv", "a.csv", "b.csv", "--dense", "full", "--control", "rnd=lth")
    code, _, errors = call(*command)
    assert code == 2 and errors.startswith("error: b.csv:1: there is no column for the seed.")
    assert not Path("comparison").exists()
    Path("b.csv").write_text(Path("b.csv").read_text().replace("run", "seed", 1))
    code, output, errors = call(*command, "verdict.margin=0.2", "--title", "Mine")
    assert (code, errors) == (0, "") and "lth is a winning ticket" in output
    page = Path("comparison/report.html").read_text()
    assert "Mine" in page and "Margin: 0.20" in page and Path("comparison/tables/runs.csv").exists()
    for arguments, message in (
        (("compare",), "Name two studies"),
        (("compare", "x", "--dense", "y"), "--dense is for runs that were made elsewhere"),
        ((*command, "verdict.margi=2"), "did you mean"),
        ((*command, "--metric", "loss"), "--metric loss: unknown. Choose from: return, success."),
        ((*command, "--control", "rnd"), "'rnd' should be as in --control ARM=TICKET"),
    ):
        code, _, errors = call(*arguments)
        assert code == 2 and message in errors, errors


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
