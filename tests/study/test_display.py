import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from rlottery.analysis.digits import MINUS
from rlottery.config import Config
from rlottery.report.terminal import terminal
from rlottery.storage.progress import Progress
from rlottery.study import display
from rlottery.study.display import (
    Lines,
    LiveTable,
    display_for,
    ended_line,
    ending_lines,
)
from rlottery.study.durations import duration, rough_duration
from rlottery.study.execution.executor import NOT_STARTED
from rlottery.study.execution.time_left import TimeLeft
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.jobs import STAGES, list_jobs, untrained_jobs
from rlottery.study.planning.plan import JobState, Tracked
from rlottery.study.run_rows import already_done, rows_of, tally
from rlottery.study.runs_table import return_text, runs_table
from tests.study.studies import job, shown, tiny_config

HALF_WAY = Progress(1, 150, 300, steps_per_second=50.0, last_return=-1234.56, last_success=0.5)


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=lambda: 0.0))


def tracked_jobs(folder: Path, seeds: int = 1) -> list[Tracked]:
    """Dense agents, masks and tickets."""
    config = tiny_config(folder, f"seeds={list(range(seeds))}")
    return [Tracked(planned) for planned in list_jobs(config, [job(config, "mask").ticket_arm], STAGES)]


def left(tracked: list[Tracked]) -> TimeLeft:
    return TimeLeft(tracked, [100.0] * len(tracked), 2)


def text(tracked: list[Tracked], number: int | None = None, width: int | None = None) -> str:
    return shown(runs_table(rows_of(tracked), left(tracked), number, width), width or 120)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"), (3599.9, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("given", "width"), [("0", 80), ("1", 40), ("39", 40), ("50", 50), ("300", 300), ("-5", 80), ("many", 80), ("", 80)]
)
def test_no_terminal_is_too_narrow(monkeypatch: pytest.MonkeyPatch, given: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", given)
    monkeypatch.setenv("LINES", "20")
    assert terminal().width == width
    assert terminal(60).width == max(60, width)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, "5 s"),
        (42, "40 s"),
        (58, "1 min"),
        (744, "12 min"),
        (5000, "1 h 20 min"),
        (7100, "2 h"),
        (180000, "2 d 2 h"),
    ],
)
def test_estimates_are_no_more_precise_than_they_are_known(seconds: float, said: str) -> None:
    assert rough_duration(seconds) == said


@pytest.mark.parametrize("state", JobState)
def test_every_state_can_be_shown(tmp_path: Path, state: JobState) -> None:
    tracked = tracked_jobs(tmp_path)
    tracked[0].state = state
    said = "starting" if state is JobState.RUNNING else state.value
    assert said in text(tracked) and said in text(tracked, number=2)
    assert state.value in ended_line(rows_of(tracked)[0])


def progress(**facts: Any) -> Progress:
    return Progress(1, 0, 300, 0.0, **facts)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (None, "starting"),
        (progress(phase="evaluating"), "evaluating"),
        (Progress(1, 101, 300, 9.0, phase="compiling"), "compiling"),
        (Progress(1, 150, 300, 9.0), "━━━━━╌╌╌╌╌  50%"),
    ],
)
def test_the_phase_is_named_where_there_is_no_progress(tmp_path: Path, now: Progress | None, said: str) -> None:
    tracked = tracked_jobs(tmp_path)
    tracked[0].state, tracked[0].progress = JobState.RUNNING, now
    assert said in text(tracked).splitlines()[1]
    tracked[0].state, tracked[1].state = JobState.DONE, JobState.RUNNING
    assert "making mask" in text(tracked).splitlines()[2]


class TestRows:
    def test_a_mask_and_its_ticket_are_one_run(self, tmp_path: Path) -> None:
        _, mask, ticket = tracked = tracked_jobs(tmp_path)
        _, row = rows_of(tracked)
        assert row.label == "Pendulum-v1 seed 0 magnitude-80" and row.state is JobState.WAITING
        mask.state = JobState.DONE
        assert row.state is JobState.WAITING
        ticket.state = JobState.DONE
        assert row.state is JobState.DONE
        mask.state, ticket.state = JobState.FAILED, JobState.SKIPPED
        assert row.state is JobState.FAILED
        mask.state = ticket.state = JobState.FOUND
        assert row.state is JobState.FOUND

    def test_a_run_is_done_before_its_rewind_points_are(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense, points = Tracked(job(config, "dense")), Tracked(replace(job(config, "dense"), stage="rewind"))
        (row,) = rows_of([dense, points])
        dense.state = JobState.RUNNING
        assert (row.label, row.state) == ("Pendulum-v1 seed 0 dense", JobState.RUNNING)
        dense.state = JobState.DONE
        assert tally([row]) == "1 of 1 run done" and row.state is JobState.DONE
        points.state = JobState.FOUND  # the run saved them on the way
        assert (row.label, row.state) == ("Pendulum-v1 seed 0 dense", JobState.DONE)
        for dense.state, points.state in ((JobState.FOUND, JobState.RUNNING), (JobState.FOUND, JobState.DONE)):
            assert (row.label, row.state) == ("Pendulum-v1 seed 0 dense rewind points", points.state)

    def test_arms_are_in_the_order_of_the_config(self, tmp_path: Path) -> None:
        """A control runs after its ticket, and may be listed before another one."""
        arms = [
            {"name": "zebra", "criterion": "magnitude", "sparsity": 0.8},
            {"name": "random", "control": "random", "of": "zebra"},
            {"name": "ant", "criterion": "taylor", "sparsity": 0.8},
        ]
        plain = tiny_config(tmp_path, "tasks=[Pendulum-v1, Reacher-v5]").model_dump(mode="json", exclude={"pruning"})
        config = Config.model_validate(plain | {"arms": arms})
        jobs = [*list_jobs(config, arms_of(config, None), STAGES), *untrained_jobs(config, STAGES)]
        shown = [row.label for row in rows_of([Tracked(of) for of in jobs])]
        names = ("untrained policies", "seed 0 dense", "seed 0 zebra", "seed 0 random", "seed 0 ant")
        assert shown == [f"{task} {name}" for task in ("Pendulum-v1", "Reacher-v5") for name in names]

    def test_runs_are_counted_and_not_their_jobs(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=2)
        assert tally(rows_of(tracked)) == "0 of 4 runs done"
        assert already_done(rows_of(tracked[:1])) == "0 of 1 run is already done."
        tracked[0].state, tracked[1].state, tracked[2].state = JobState.FOUND, JobState.DONE, JobState.FAILED
        assert tally(rows_of(tracked)) == "2 of 4 runs done, 1 failed"
        assert tally(rows_of(tracked[2:4])) == "0 of 2 masks done, 1 failed"
        assert tally(rows_of(tracked[:1])) == "1 of 1 run done"
        assert already_done(rows_of(tracked)) == "1 of 4 runs is already done."
        assert already_done(rows_of(tracked[:1])) == "The run is already done."
        for item in tracked:
            item.state = JobState.FOUND
        assert already_done(rows_of(tracked)) == "All 4 runs of this command are already done."


class TestLines:
    """Where there is no terminal."""

    @pytest.fixture
    def tracked(self, tmp_path: Path) -> list[Tracked]:
        return tracked_jobs(tmp_path)

    @pytest.fixture
    def written(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def lines(self, tracked: list[Tracked], written: io.StringIO) -> Lines:
        return Lines(Console(file=written, width=40), tracked, left(tracked))

    def test_is_chosen(self, tracked: list[Tracked]) -> None:
        def chosen(**how: Any) -> type:
            return type(display_for(Console(file=io.StringIO(), **how), tracked, left(tracked)))

        assert chosen() is Lines and chosen(force_terminal=True, width=60) is LiveTable
        assert chosen(force_terminal=True, width=59) is Lines
        assert chosen(force_terminal=True, _environ={"TERM": "dumb"}) is Lines

    def test_a_line_when_a_run_ends_and_none_for_its_parts(
        self, lines: Lines, tracked: list[Tracked], written: io.StringIO
    ) -> None:
        dense, mask, ticket = tracked
        dense.state = JobState.FOUND
        with lines:
            for state in (JobState.RUNNING, JobState.DONE):
                mask.state = state
                lines.refresh()
            for state in (JobState.WAITING, JobState.RUNNING, JobState.RUNNING, JobState.DONE, JobState.DONE):
                ticket.state, ticket.seconds = state, 75.0
                lines.refresh()
        assert [line.rpartition(" in ")[0] or line for line in written.getvalue().splitlines()] == [
            "1 of 2 runs done, 0 s elapsed; running: Pendulum-v1 seed 0 magnitude-80 (making mask)",
            "Pendulum-v1 seed 0 magnitude-80: done",
            "After 0 s: 2 of 2 runs done.",
        ]

    def test_with_the_end_of_a_run_comes_how_far_the_study_is(
        self, lines: Lines, tracked: list[Tracked], written: io.StringIO
    ) -> None:
        tracked[0].state, tracked[0].seconds = JobState.DONE, 75.0
        tracked[0].progress = Progress(1, 300, 300, 0.0, last_return=-1234.56)
        lines.refresh()
        # Of mask and ticket, each as long as the run that is done, one waits for the other.
        assert written.getvalue() == (
            f"Pendulum-v1 seed 0 dense: done in 1 min 15 s, return {MINUS}1,234.6. "
            "1 of 2 runs done, 0 s elapsed, about 3 min left\n"
        )

    def test_lines_become_fewer_the_longer_a_study_runs(
        self, tracked: list[Tracked], written: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr(display.time, "monotonic", lambda: now)
        lines = Lines(Console(file=written), tracked, left(tracked))
        tracked[0].state, tracked[0].progress = JobState.RUNNING, Progress(1, 150, 300, 1.0)
        at = []
        for second in range(0, 3600 * 24, 5):
            now, before = float(second), written.tell()
            lines.refresh()
            at += [second] * (written.tell() > before)
        assert at[:5] == [0, 30, 60, 90, 120] and 120 < len(at) < 180
        pauses = [after - before for before, after in pairwise(at)]
        assert pauses == sorted(pauses) and max(pauses) == 600
        assert "; running: Pendulum-v1 seed 0 dense 50 %" in written.getvalue()

    def test_a_line_is_due_while_nothing_runs(
        self, tracked: list[Tracked], written: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr(display.time, "monotonic", lambda: now)
        lines = Lines(Console(file=written), tracked, left(tracked))
        tracked[0].state = JobState.RUNNING
        lines.refresh()
        now, tracked[0].state = 60.0, JobState.WAITING
        lines.refresh()
        assert written.getvalue().splitlines()[1:] == ["0 of 2 runs done, 1 min 0 s elapsed"]

    def test_what_was_done_before_is_not_repeated(self, tmp_path: Path, written: io.StringIO) -> None:
        tracked = tracked_jobs(tmp_path)
        for item in tracked:
            item.state = JobState.FOUND
        with Lines(Console(file=written), tracked, left(tracked)) as lines:
            lines.refresh()
        assert written.getvalue() == "After 0 s: 2 of 2 runs done.\n"

    def test_runs_that_one_failure_prevents_share_a_line(self, tmp_path: Path, written: io.StringIO) -> None:
        tracked = tracked_jobs(tmp_path, seeds=2)
        lines = Lines(Console(file=written), tracked, left(tracked))
        tracked[0].state, tracked[0].message = JobState.FAILED, "boom\nlog: data/dense.log"
        for item in tracked[1:]:
            item.state, item.message = JobState.SKIPPED, "Pendulum-v1 seed 0 dense failed"
        lines.refresh()
        assert written.getvalue().splitlines() == [
            "Pendulum-v1 seed 0 dense: failed: boom",
            "log: data/dense.log",
            "Pendulum-v1 seed 1 dense, Pendulum-v1 seed 0 magnitude-80 and Pendulum-v1 seed 1 magnitude-80: not run, "
            "because Pendulum-v1 seed 0 dense failed",
        ]

    def test_no_wrapping_no_colours_no_markup(self, lines: Lines, tracked: list[Tracked], written: io.StringIO) -> None:
        tracked[0].state, tracked[0].message = JobState.FAILED, "[bold]/a/long/path/that/is/wider/than/the/console.log"
        lines.refresh()
        assert written.getvalue().startswith(f"Pendulum-v1 seed 0 dense: failed: {tracked[0].message}. 0 of 2 runs")


class TestEnding:
    def test_one_reason_is_given_once(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=2)
        for number, item in enumerate(tracked[:2]):
            item.state, item.message = JobState.FAILED, f"boom\nlog: data/{number}.log"
        for item in tracked[2:]:
            item.state, item.message = JobState.SKIPPED, "dense failed"
        assert ending_lines(tracked, has_said=False) == [
            "Pendulum-v1 seed 0 dense and Pendulum-v1 seed 1 dense: failed: boom\n  log: data/0.log",
            "Pendulum-v1 seed 0 magnitude-80 and Pendulum-v1 seed 1 magnitude-80: not run, because dense failed",
        ]
        assert ending_lines(tracked, has_said=True) == [
            "Pendulum-v1 seed 0 dense and Pendulum-v1 seed 1 dense: failed: see above"
        ]

    def test_what_was_not_started_is_not_worth_a_line(self, tmp_path: Path) -> None:
        dense, mask, ticket = tracked = tracked_jobs(tmp_path)
        dense.state, dense.message = JobState.STOPPED, "It continues from step 1,000."
        mask.state = ticket.state = JobState.SKIPPED
        mask.message = ticket.message = NOT_STARTED
        (line,) = ending_lines(tracked, has_said=False)
        assert line == "Pendulum-v1 seed 0 dense: stopped. It continues from step 1,000."

    def test_remarks_on_runs_that_are_done_are_shown(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path)
        tracked[0].state, tracked[0].message = JobState.DONE, "skipped a damaged checkpoint: step 100"
        assert ending_lines(tracked, has_said=False) == [
            "Pendulum-v1 seed 0 dense: skipped a damaged checkpoint: step 100"
        ]
        assert ending_lines(tracked, has_said=True) == []


class TestTable:
    def test_a_line_a_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(display.time, "monotonic", lambda: 20.0)
        tracked = tracked_jobs(tmp_path)
        tracked[0].state, tracked[0].progress, tracked[0].seconds = JobState.RUNNING, HALF_WAY, 20.0
        lines = text(tracked).splitlines()
        assert lines[0].split() == ["run", "state", "steps/s", "return", "success", "elapsed", "left"]
        assert lines[1].split()[:6] == ["seed", "0", "dense", "━━━━━╌╌╌╌╌", "50%", "50"]
        assert lines[1].split()[6:] == [f"{MINUS}1,234.6", "0.50", "20", "s"]
        assert lines[2].split() == ["seed", "0", "magnitude-80", "waiting"] and len(lines) == 3

    def test_the_time_left_of_a_run_is_that_of_its_updates(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        tracked = tracked_jobs(tmp_path)
        known = left(tracked)
        tracked[0].state = JobState.RUNNING
        for now, step in ((10.0, 101), (30.0, 201)):  # noqa: B007
            tracked[0].progress = Progress(1, step, 300, 50.0)
            known.look()
        assert shown(runs_table(rows_of(tracked), known)).splitlines()[1].split()[-2:] == [
            "20",
            "s",
        ]  # 99 steps of 0.2 s

    @pytest.mark.parametrize("width", [60, 80, 100])
    def test_a_narrow_terminal_shows_whole_words(self, tmp_path: Path, width: int) -> None:
        tracked = tracked_jobs(tmp_path, seeds=2)
        tracked[0].state, tracked[0].progress = JobState.RUNNING, HALF_WAY
        tracked[1].state, tracked[1].seconds = JobState.DONE, 3700.0
        lines = text(tracked, None, width).splitlines()
        assert len(lines) == 5 and max(map(len, lines)) <= width
        assert "seed 0 dense  " in lines[1] and "  50%" in lines[1] and "  waiting" in lines[3]
        assert "1 h 1 min" in lines[2] and "seed 1 magnitude-80" in lines[4]
        assert (f"{MINUS}1,234.6" in lines[1]) == (width >= 80)

    def test_what_runs_or_failed_is_shown_where_not_all_fit(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=20)
        for item in tracked[:15]:
            item.state = JobState.DONE
        tracked[3].state, tracked[15].state = JobState.FAILED, JobState.RUNNING
        lines = text(tracked, number=5).splitlines()
        assert len(lines) == 6  # with the heading
        assert "seed 3 dense" in lines[1] and "failed" in lines[1]
        assert "seed 15 dense" in lines[2] and "starting" in lines[2]
        assert "waiting" in lines[3] and "waiting" in lines[4]
        assert lines[5].strip() == "and 22 waiting, 14 done"

    def test_fits_the_terminal_and_leaves_the_last_line_alone(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=20)
        written = io.StringIO()
        console = Console(file=written, force_terminal=True, width=120, height=10)
        with LiveTable(console, tracked, left(tracked)) as table:
            table.refresh()
            drawn = written.getvalue().splitlines()
            assert 8 <= len(drawn) < 10 and "0 of 40 runs done, 0 s elapsed" in drawn[-1]
        assert "After 0 s: 0 of 40 runs done." in written.getvalue()

    def test_is_drawn_once_a_second_or_when_a_state_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        monkeypatch.setattr(display.time, "monotonic", lambda: now)
        tracked = tracked_jobs(tmp_path)
        table = LiveTable(Console(file=io.StringIO(), force_terminal=True), tracked, left(tracked))
        drawings: list[object] = []
        monkeypatch.setattr(table._live, "update", lambda drawing, refresh: drawings.append(drawing))
        drawn = []
        for now, state in (  # noqa: B007
            (1000.0, JobState.WAITING),
            (1000.2, JobState.WAITING),
            (1000.9, JobState.WAITING),
            (1001.1, JobState.WAITING),
            (1001.2, JobState.RUNNING),
        ):
            tracked[0].state = state
            table.refresh()
            drawn.append(len(drawings))
        assert drawn == [1, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1234.5, "-1,234.5"),
        (0.0, "0.0"),
        (0.00333, "0.00333"),
        (1e40, "1e+40"),
        (-3e-170, "-3e-170"),
        (3542, "3,542.0"),
    ],
)
def test_returns_of_any_size(value: float, text: str) -> None:
    assert return_text(value).replace(MINUS, "-") == text
