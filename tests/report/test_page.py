import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from functools import cache, partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.image
import pytest
from rich.console import Console

from rlottery.analysis.digits import MINUS
from rlottery.analysis.mask_analysis import MaskAnalysis
from rlottery.processes import shared_calls
from rlottery.report import page_figures
from rlottery.report.arm_styles import looks
from rlottery.report.cells import DARK_TEXT, LIGHT_TEXT
from rlottery.report.closing import Closing
from rlottery.report.contents import Contents
from rlottery.report.files import write_report
from rlottery.report.headline import headline
from rlottery.report.page import page_environment, page_files, report_html
from rlottery.report.summary import summarise
from tests.report.contents import ARMS, GIF, SPARSITIES, TASKS, TICKETS, contents, empty, renamed
from tests.waiting import wait_for

VOID = {"meta", "input", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """The elements of a page, in order: (tag, attributes, text within)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        while self._open and self.elements[self._open.pop()][0] != tag:
            pass

    def handle_data(self, data):
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, *tags):
        return [(tag, attributes, "".join(text)) for tag, attributes, text in self.elements if tag in tags]

    def by_id(self, name):
        return next("".join(text) for _, attributes, text in self.elements if attributes.get("id") == name)


def quick(made: Contents, *, curves: bool = True) -> Contents:
    """A study without the figures that take longest to draw: those of masks, and with `curves` off learning curves."""
    scores = made.scores
    if not curves:
        scores = tuple(
            replace(
                of, runs={arm: tuple(replace(run, evaluations=()) for run in runs) for arm, runs in of.runs.items()}
            )
            for of in scores
        )
    return replace(made, masks=MaskAnalysis((), (), ()), scores=scores)


def one_task(made: Contents, arms: Collection[str] = ARMS) -> Contents:
    """The first task of a study alone, with these arms and without its masks and contrasts."""
    scores, verdict = made.scores[0], made.verdicts.tasks[0]
    runs = {arm: runs for arm, runs in scores.runs.items() if arm in arms}
    scores = replace(scores, arms=tuple(arm for arm in scores.arms if arm.arm in arms), runs=runs)
    verdict = replace(verdict, arms=tuple(arm for arm in verdict.arms if arm.arm in arms))
    none: Any = {"pooled": (), "methods": (), "trends": (), "contrasts": ()}
    judged = replace(made.verdicts, tasks=(verdict,), **none)
    across = tuple(replace(arm, tasks=(scores.task,)) for arm in made.across if arm.arm in arms)
    rest: Any = {"costs": (), "films": {}, "missing": (), "claims": {}}
    return quick(replace(made, scores=(scores,), across=across, verdicts=judged, **rest))


_FOLDER = TemporaryDirectory()


@cache
def report() -> Path:
    """The report of the made-up study, drawn once for all tests."""
    folder = Path(_FOLDER.name)
    assert all(path.is_file() for path in write_report(folder, contents()))
    return folder


def html() -> str:
    return (report() / "report.html").read_text()


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(html())


@pytest.fixture(scope="module")
def written() -> Path:
    return report()


@pytest.fixture(scope="module")
def half_done(tmp_path_factory) -> Path:
    """The report of a study with one of its five seeds."""
    folder = tmp_path_factory.mktemp("half-done")
    write_report(folder, replace(contents(seeds=(0,), evaluations=3), seeds=(0, 1, 2, 3, 4)))
    return folder


def test_figures_of_masks_and_over_tasks_are_drawn_by_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is much to draw; and by another process as here."""
    folder, given = report() / "figures", contents()
    asked: list[tuple[list[Any], int]] = []

    def call_all(own: list[Any], shared: list[Any], processes: int) -> list[Any]:
        asked.append((shared, processes))
        return []

    monkeypatch.setattr(page_figures, "call_all", call_all)
    for most in (len(given.masks.arms), len(given.masks.arms) + 1):
        monkeypatch.setattr(page_figures, "_MANY_ROWS", most)
        page_figures.page_figures(given, looks(given.scores), processes=3)
    (shared, several), (_, alone) = asked
    assert (several, alone) == (3, 1)
    here = {path.stem for path in folder.glob("*.svg")}
    kept = {one.name for one in shared} & here
    assert {name for name in here if name.startswith("mask-")} | {"profiles", "aggregates"} <= kept

    plan = next(one for one in shared if one.name == "mask-idle-units")
    drawn = tmp_path / "drawn"
    calls: list[Any] = [plan, partial(own_number, drawn), int]
    _, figure, other, _ = shared_calls.call_all([partial(wait_for, drawn.exists)], calls, processes=2)
    assert other != os.getpid()
    mine = plan()
    assert figure.drawn == mine.drawn and figure.inlined == mine.inlined
    assert figure.drawn.png == (folder / f"{figure.name}.png").read_bytes()


def own_number(path: Path) -> int:
    path.touch()
    return os.getpid()


class TestThePage:
    def test_it_needs_nothing_else(self, page):
        for tag, attributes, _ in page.elements:
            for name in ("src", "href", "srcset", "data", "action", "poster"):
                value = attributes.get(name) or ""
                assert not value or value.startswith(("#", "data:")), (tag, name, value)
        assert "@import" not in html()
        assert not page.all("link", "iframe", "object", "embed")
        assert not re.search(r"url\((?!#)", html())

    def test_its_policy_allows_its_own_script_and_no_other(self, page):
        policy = next(a["content"] for _, a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        [script] = [text for _, a, text in page.all("script") if "type" not in a]
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert directives["script-src"] == f"'sha256-{digest}'"

    def test_it_stays_small(self):
        assert len(html().encode()) < 3_000_000

    def test_headings_are_in_order(self, page):
        levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3", "h4")]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))

    def test_ids_are_its_only_ones_and_links_lead_somewhere(self, page):
        ids = Counter(a["id"] for _, a, _ in page.elements if a.get("id"))
        assert ids.most_common(1)[0][1] == 1
        links = [a["href"][1:] for _, a, _ in page.elements if (a.get("href") or "").startswith("#")]
        clips = re.findall(r"url\(#([^)]+)\)", html())
        assert clips and set(links) | set(clips) <= set(ids)

    def test_every_heading_below_the_title_has_a_link_to_itself(self, page):
        headings = page.all("h2", "h3")
        links = [a["href"] for _, a, _ in page.all("a") if a.get("class") == "anchor"]
        assert len(links) == len(set(links)) == len(headings) > 20
        assert [a["id"].removesuffix("-title") for _, a, _ in headings] == [link[1:] for link in links]
        assert {"#curves", "#curves-Reacher-v5", "#scores_Reacher-v5", "#open", "#limits", "#missing"} <= set(links)

    def test_every_figure_is_described_and_captioned(self, page):
        pictures = [a for _, a, _ in page.all("div") if a.get("class") == "panels"]
        assert len(pictures) >= 2 * len(TASKS) + 4
        assert all(a["role"] == "group" and len(a["aria-label"] or "") > 40 for a in pictures)
        panels = [a for _, a, _ in page.all("svg") if a.get("aria-hidden") != "true"]
        assert len(panels) > len(pictures) and all(a["role"] == "img" and a["aria-label"] for a in panels)
        captions = [text for _, _, text in page.all("figcaption")]
        assert len(captions) == len(pictures) + 1  # and the video's
        figures = [text for text in captions if "in the same episode" not in text]
        assert all(re.search(r"n = \d+ (to \d+ )?(of \d+ )?(seeds?|runs?|pairs?)\b", text) for text in figures)
        assert all("interval" in text for text in figures)

    def test_captions_tell_how_many_runs_are_behind_the_numbers(self):
        """Reacher-v5: one of 70 runs failed. drawer-close-v3: one diverged, which has a score and no mean curve."""
        captions = [text for _, _, text in Page(html()).all("figcaption")]
        told = {
            (task, what): re.findall(r"n = ([^;,.)]*)", text)
            for text in captions
            for task in TASKS
            for what in ("mean", "Thick")
            if text.startswith(f"{task}: {'mean' if what == 'mean' else 'score of'}")
        }
        assert (
            told["InvertedDoublePendulum-v5", "mean"]
            == told["InvertedDoublePendulum-v5", "Thick"]
            == ["5 of 5 seeds per arm"]
        )
        assert told["Reacher-v5", "mean"] == told["Reacher-v5", "Thick"] == ["4 to 5 of 5 seeds per arm"]
        assert told["drawer-close-v3", "mean"] == ["5 of 5 seeds per arm"]
        assert told["drawer-close-v3", "Thick"] == ["4 to 5 of 5 seeds per arm"]
        assert ["1 run diverged" in text for text in captions].count(True) == 1

    def test_a_study_half_done_has_captions_of_what_is_done(self, half_done):
        page = Page((half_done / "report.html").read_text())
        captions = [text for _, _, text in page.all("figcaption") if "per arm" in text]
        assert len(captions) > 2 * len(TASKS)
        assert all(re.search(r"n = (1 of 5 seeds|3 of 15 runs) per arm", text) for text in captions)

    def test_tables_have_captions_and_heads(self, page):
        tables = page.all("table")
        assert len(page.all("caption")) == len(tables) >= 8
        assert all(text.strip() for _, _, text in page.all("caption"))
        assert all(a.get("scope") in ("col", "row") for _, a, _ in page.all("th"))

    def test_svgs_bring_no_styles_into_the_page(self, page):
        assert len(page.all("style")) == 1

    def test_colours_follow_the_page(self):
        body = html().split("</style>", 1)[1]
        # Cells have their own colours on every page, and so has the text on them.
        assert set(re.findall(r"(?:fill|stroke): (#\w+)", body)) <= {DARK_TEXT.lower(), LIGHT_TEXT.lower()}
        assert "var(--figure-" in body

    def test_films_are_inside(self, page):
        [(_, attributes, _)] = page.all("img")
        media, data = attributes["src"].split(",")
        assert media == "data:image/gif;base64"
        assert base64.b64decode(data) == GIF

    def test_a_video_has_controls_and_makes_no_sound(self):
        made = replace(empty(), films={"Reacher-v5": ("video/mp4", b"\0\1")})
        [(_, attributes, _)] = Page(report_html(made)).all("video")
        assert attributes["src"] == "data:video/mp4;base64,AAE="
        assert {"controls", "muted", "loop", "playsinline"} <= attributes.keys()

    def test_what_is_missing_is_reported_near_the_top_and_at_the_end(self, page):
        assert "2 things are missing or failed" in page.by_id("verdict")
        assert all(line in page.by_id("made") for line in contents().missing)

    def test_a_video_that_could_not_be_made_is_listed_and_leaves_the_report_whole(self):
        page = Page(report_html(replace(empty(), no_films=("Videos: no renderer.",))))
        assert "incomplete" not in page.by_id("verdict") and "Videos: no renderer." in page.by_id("made")
        assert "See what" not in page.by_id("verdict") and "None" not in page.by_id("verdict")

    def test_no_template_prints_a_value_that_is_not_there(self):
        with pytest.raises(TypeError, match="not there"):
            page_environment().from_string("! {{ line }}").render(line=None)

    def test_what_is_whole_has_no_notice(self):
        page = Page(report_html(empty()))
        assert "incomplete" not in page.by_id("verdict")
        assert "Every run that the settings ask for is done." in page.by_id("made")

    def test_cautions_are_next_to_the_verdicts(self, page):
        assert not [text for tag, a, text in page.all("p") if a.get("class") == "notice" and "two levels" in text]
        given = replace(contents(seeds=(0, 1), evaluations=3), scores=(), masks=MaskAnalysis((), (), ()))
        first, *others = given.verdicts.tasks
        split = [replace(task, bimodal=f"On {task.task}, two levels.") for task in (first, others[0])]
        cautious = (replace(split[0], head_start="Ahead, not at two levels."), split[1], *others[1:])
        made = replace(given, verdicts=replace(given.verdicts, tasks=cautious))
        page = Page(report_html(made))
        notices = [text for tag, a, text in page.all("p") if a.get("class") == "notice" and "two levels" in text]
        assert len(notices) == 3 and notices[1] == "! Ahead, not at two levels."
        assert notices[0] == f"! On {first.task}, two levels."
        assert all(notice in page.by_id("verdicts") for notice in notices)

    def test_settings_commands_and_rules_are_reported(self, page):
        made = page.by_id("made")
        given = contents()
        assert given.config_text in made
        assert given.commands[0].line in made
        assert all(rule in made for rule in given.verdicts.rules)
        assert "0.10.2" in made

    def test_answers_are_those_of_the_contents(self, page):
        rows = [a for tag, a, _ in page.all("tr") if "data-dense" in a]
        shown = Counter((a["data-task"], a["data-dense"], a["data-random"]) for a in rows)
        dense = {"non-inferior": "as good as dense", "worse": "worse than dense", "open": "open against dense"}
        random = {answer: f"{answer} than random" for answer in ("better", "worse")}
        random |= {"equivalent": "equivalent to random", "open": "open against random"}
        nothing = "not judged"
        for task in contents().verdicts.tasks:
            told = [(dense.get(a.dense.answer, nothing), random.get(a.random.answer, nothing)) for a in task.arms]
            assert {(d, r): n for (t, d, r), n in shown.items() if t == task.task} == Counter(told)

    def test_an_answer_is_shown_by_a_shape_too(self, page):
        marks = [a.get("class") for _, a, _ in page.all("svg") if a.get("aria-hidden") == "true"]
        assert {"mark mark-up", "mark mark-even", "mark mark-down", "mark mark-open"} <= set(marks)

    def test_registered_contrasts_have_a_line_with_when_they_were_registered(self, page):
        told = page.by_id("contrasts")
        assert "On Reacher-v5, taylor-95 is better than magnitude-95 by 7.5 [" in told
        assert "in normalised score, Holm-corrected p = 0.020 (registered before the first run)." in told
        table = page.by_id("table-contrasts")
        assert "shown: taylor-95 is better than magnitude-95" in table
        assert "not registered; a default comparison" in table

    def test_what_limits_the_answers_follows_them(self, page):
        verdict = page.by_id("verdict")
        places = [verdict.index(part) for part in ("Over 3 tasks", "winning ticket", "Open", "Limits", "Is gradient")]
        assert places == sorted(places)


class TestTheFirstScreen:
    def test_the_answer_is_short_and_its_numbers_are_in_a_table(self, page):
        said = headline(contents())
        leads = [text for _, a, text in page.all("p") if a.get("class") == "lead"]
        assert leads == [said.lead] and not re.search(r"\[|\d\.\d", said.lead)
        told = page.by_id("table-evidence")
        for arm in contents().verdicts.pooled:
            if arm.arm in {named.arm for named in said.named}:
                for of, against in ((arm.dense.comparison, "dense"), (arm.random.comparison, "its random control")):
                    numbers = (f"{value:+.2f}".replace("-", MINUS) for value in (of.difference, of.low, of.high))
                    shown = "{} [{}, {}]".format(*numbers)
                    assert re.search(rf"{arm.arm} {MINUS} {against}\s*{re.escape(shown)}\s*\w+", told)
        assert "Runs of each arm: 15." in told

    def test_a_title_is_only_broken_before_its_bracket(self):
        page = page_environment().from_string("{{ title | bounded }}").render(title="Return\n[90 % interval]")
        assert page == 'Return <span class="bounds">[90 % interval]</span>'

    def test_too_few_seeds_have_an_early_look_in_the_words_of_the_terminal(self):
        given = one_task(contents(seeds=(0, 1), evaluations=3))
        none = [
            replace(arm, dense=replace(arm.dense, answer=None), random=replace(arm.random, answer=None))
            for arm in given.verdicts.tasks[0].arms
        ]
        tasks = (replace(given.verdicts.tasks[0], arms=tuple(none), state="too few seeds", why="only 2 seeds."),)
        given = replace(given, verdicts=replace(given.verdicts, tasks=tasks))
        lead = next(text for _, a, text in Page(report_html(given)).all("p") if a.get("class") == "lead")
        assert lead.startswith("Early look: on InvertedDoublePendulum-v5, ") and lead.endswith(" over 2 seeds.")
        console = Console(width=1000, file=io.StringIO())
        console.print(Closing(summarise(given)))
        assert lead in console.file.getvalue().splitlines()  # type: ignore[attr-defined]

    def test_what_one_task_one_sparsity_and_one_method_leave_nothing_to_say_about_is_left_out(self):
        given = contents(seeds=(0, 1, 2, 3, 4), evaluations=3)
        kept = {"dense", "magnitude-90", "random-90"}
        page = Page(report_html(one_task(given, kept)))
        ids = {a["id"] for _, a, _ in page.elements if a.get("id")}
        assert {"verdict", "curves", "verdicts", "scores"} <= ids
        assert not {"across", "sparsity", "question", "tickets"} & ids
        assert not page.all("form")
        both = Page(report_html(one_task(given, kept | {"taylor-90"})))
        assert "Is gradient better than magnitude?" in [text for _, _, text in both.all("h2")]


class TestOddStudies:
    def test_nothing_done_yet(self):
        page = Page(report_html(empty()))
        assert "Nothing is decided" in page.by_id("verdict")
        assert not page.all("table")

    def test_tasks_of_a_module_or_a_namespace_have_files_and_ids_of_their_own(self):
        given = quick(contents(seeds=(0,), evaluations=3))
        for task, name in zip(TASKS, ("pkg.envs:Walk-v0", "other/Walk-v0", "Walk-v0"), strict=True):
            given = renamed(given, task, name)
        written = page_files(given)
        assert {
            "figures/curves-pkg.envs_Walk-v0.svg",
            "figures/sparsity-other_Walk-v0.png",
            "tables/scores_Walk-v0.csv",
        } <= written.keys()
        text = written["report.html"].decode()
        page = Page(text)
        ids = Counter(a["id"] for _, a, _ in page.elements if a.get("id"))
        assert ids.most_common(1)[0][1] == 1
        assert not [name for name in ids if re.search(r"""[\s:/"'<>()#]""", name or "")]
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)

    @pytest.mark.parametrize(("asked", "told"), [(0, 210), (12, 210), (300, 300)])
    def test_arms_that_have_not_started_are_asked_for_too(self, asked, told):
        """3 tasks of 5 seeds and 14 arms have begun; 1 run failed and 1 diverged."""
        begun = replace(empty(), scores=quick(contents(evaluations=3), curves=False).scores, asked=asked)
        facts = [text for _, a, text in Page(report_html(begun)).all("p") if a.get("class") == "facts"]
        assert facts == [f"3 tasks, 5 seeds, {len(ARMS)} arms, 208 of {told} runs done"]

    def test_names_from_the_study_are_text(self):
        name = "<script>alert('$x_$')</script>"
        made = renamed(one_task(contents(evaluations=3), {"dense", "taylor-95", "random-95"}), "taylor-95", name)
        made = replace(made, title=name, missing=(name,), config_text=name, versions={name: name})
        page = Page(report_html(made))
        assert len([a for _, a, _ in page.all("script") if "type" not in a]) == 1
        data = [json.loads(text) for _, a, text in page.all("script") if "type" in a]
        assert any(name in block["same"].values() for figure in data for block in figure["blocks"])
        assert page.by_id("verdict-title") == name
        assert name in page.by_id("verdicts")
        assert any(name in (a.get("aria-label") or "") for _, a, _ in page.all("div"))

    def test_one_seed_has_no_intervals_and_arms_without_a_colour_of_their_own_are_drawn(self):
        page = Page(report_html(quick(contents(seeds=(0,), evaluations=3, more_arms=6))))
        means = [text for tag, _, text in page.all("td") if "[" in text and "," in text]
        assert "other5-95" in page.by_id("scores")
        assert not [text for text in means if text in page.by_id("scores")]

    def test_means_over_other_tasks_are_not_drawn_together(self):
        given = quick(contents(seeds=(0, 1), evaluations=3), curves=False)
        across = tuple(replace(arm, tasks=("Reacher-v5",)) if arm.arm == "taylor-98" else arm for arm in given.across)
        page = Page(report_html(replace(given, across=across)))
        captions = [text for _, _, text in page.all("figcaption") if "Not drawn" in text]
        assert len(captions) == 4 and all("done on other tasks: taylor-98." in text for text in captions)
        labels = [a["aria-label"] for _, a, _ in page.all("div") if "nterquartile mean" in (a.get("aria-label") or "")]
        assert labels and "taylor-95" in labels[0] and "taylor-98" not in labels[0]


class TestWritePage:
    def test_each_file_is_listed(self, half_done):
        names = {str(path.relative_to(half_done)) for path in half_done.rglob("*") if path.is_file()}
        assert {"report.html", "tables/verdicts.csv", "figures/sparsity-Reacher-v5.png"} <= names
        assert {"tables/mask_inputs.md", "tables/scores_drawer-close-v3.md"} <= names

    def test_the_same_contents_give_the_same_files(self):
        first, second = (page_files(one_task(contents(seeds=(0, 1), evaluations=3))) for _ in range(2))
        assert first == second

    def test_what_an_earlier_report_wrote_is_removed_and_nothing_else(self, half_done, tmp_path):
        shutil.copytree(half_done, tmp_path, dirs_exist_ok=True)
        mine = ("figures/mine.png", "tables/mine.csv", "figures/notes.txt", "figures/old/own.png", "film.mp4")
        for name in mine:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("mine")
        write_report(tmp_path, empty())
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("[!.]*") if path.is_file()}
        assert left == {"report.html", "comparison.md", "report_files.json", *mine}
        assert all((tmp_path / name).read_text() == "mine" for name in mine)

    def test_figures_are_pictures(self, written):
        drawn = sorted((written / "figures").glob("*.png"))
        assert len(drawn) >= 2 * len(TASKS) + 4
        for path in drawn:
            assert matplotlib.image.imread(path)[..., 3].max() == 1
            assert ET.parse(path.with_suffix(".svg")).getroot().tag.endswith("svg")

    def test_the_verdicts_as_csv_are_those_of_the_contents(self, written):
        rows = list(csv.DictReader(io.StringIO((written / "tables" / "verdicts.csv").read_text())))
        told = {(row["task"], row["arm"]): row for row in rows}
        for task in contents().verdicts.tasks:
            for arm in task.arms:
                row, dense = told[task.task, arm.arm], arm.dense.comparison
                assert (row["answer_dense"], row["answer_random"]) == (arm.dense.answer or "", arm.random.answer or "")
                # The normalised score is one more than the difference to dense.
                assert float(row["normalised"]) == pytest.approx(1 + dense.difference)
                assert float(row["normalised_low"]) == pytest.approx(1 + dense.low)
                assert float(row["difference_dense"]) == pytest.approx(dense.raw_difference)
                assert row["difference_random_high"] == str(arm.random.comparison.raw_high if arm.control else "")

    def test_scores_as_csv(self, written):
        rows = list(
            csv.DictReader(io.StringIO((written / "tables" / "scores_InvertedDoublePendulum-v5.csv").read_text()))
        )
        scores = contents().scores[0]
        assert scores.task == "InvertedDoublePendulum-v5"
        assert [row["arm"] for row in rows] == [arm.arm for arm in scores.arms]
        assert all(float(row["seed_3"]) == arm.scores[3] for row, arm in zip(rows, scores.arms, strict=True))

    def test_inputs_as_csv(self, written):
        rows = list(csv.DictReader(io.StringIO((written / "tables" / "mask_inputs.csv").read_text())))
        told = {(row["task"], row["arm"], int(row["index"])): row for row in rows}
        shares = [(arm, entry) for arm in contents().masks.arms for entry in arm.inputs]
        assert len(rows) == len(told) == len(shares)
        for arm, entry in shares:
            row = told[arm.task, arm.arm, entry.index]
            assert row["name"] == (entry.name or "")
            measured = [float(row[name]) for name in ("actor", "critic", "saliency")]
            assert measured == pytest.approx([entry.kept["actor"], entry.kept["critic"], entry.saliency])
            assert (int(row["ignored"]), int(row["masks"])) == (entry.ignored, len(arm.seeds))

    def test_a_row_of_markdown_for_each_ticket(self, written):
        lines = (written / "tables" / "verdicts_over_tasks.md").read_text().splitlines()
        assert len([line for line in lines if line.startswith("| ")]) == 2 + len(TICKETS)
        assert len(TICKETS) == 2 * len(SPARSITIES)
