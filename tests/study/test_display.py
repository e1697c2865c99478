import io
from pathlib import Path

import pytest
from rich.console import Console

from rlottery.analysis.digits import MINUS
from rlottery.storage.progress import Progress
from rlottery.study import display
from rlottery.study.display import Lines, LiveTable, display_for, duration, job_line, jobs_table, return_text, terminal
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import job, shown, tiny_config

HALF_WAY = Progress(1, 150, 300, steps_per_second=50.0, last_return=-1234.56, last_success=0.5)


def tracked_jobs(folder: Path, seeds: int = 1) -> list[Tracked]:
    config = tiny_config(folder, f"seeds={list(range(seeds))}")
    return [Tracked(planned) for planned in list_jobs(config, [job(config, "mask").ticket_arm], STAGES)]


def text(tracked: list[Tracked], rows: int | None = None) -> str:
    return shown(jobs_table(tracked, rows))


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


@pytest.mark.parametrize("state", JobState)
def test_every_state_can_be_shown(tmp_path: Path, state: JobState) -> None:
    tracked = tracked_jobs(tmp_path)
    tracked[0].state = state
    assert state.value in text(tracked)
    assert state.value in text(tracked, rows=2)
    assert state.value in job_line(tracked[0])


class TestLine:
    @pytest.fixture
    def dense(self, tmp_path: Path) -> Tracked:
        return tracked_jobs(tmp_path)[0]

    def test_running(self, dense: Tracked) -> None:
        dense.state, dense.progress = JobState.RUNNING, HALF_WAY
        assert job_line(dense) == (
            "Pendulum-v1 seed 0 dense: running, 150 of 300 steps, 50 steps/s, "
            f"return {MINUS}1,234.6, success 0.50, 3 s left"
        )

    def test_before_the_first_step_it_promises_nothing(self, dense: Tracked) -> None:
        dense.state, dense.progress = JobState.RUNNING, Progress(1, 0, 300, 0.0)
        assert job_line(dense) == "Pendulum-v1 seed 0 dense: running, 0 of 300 steps, 0 steps/s"

    def test_starting(self, dense: Tracked) -> None:
        dense.state = JobState.RUNNING
        assert job_line(dense) == "Pendulum-v1 seed 0 dense: running"

    def test_done(self, dense: Tracked) -> None:
        dense.state, dense.seconds = JobState.DONE, 75.0
        assert job_line(dense) == "Pendulum-v1 seed 0 dense: done, 1 min 15 s"

    def test_failed(self, dense: Tracked) -> None:
        dense.state, dense.message = JobState.FAILED, "boom\nlog: data/dense.log"
        assert job_line(dense) == "Pendulum-v1 seed 0 dense: failed, boom\nlog: data/dense.log"


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
        return Lines(Console(file=written, width=40), tracked)

    def test_is_chosen(self, tracked: list[Tracked]) -> None:
        assert isinstance(display_for(Console(file=io.StringIO()), tracked), Lines)
        assert isinstance(display_for(Console(file=io.StringIO(), force_terminal=True, width=60), tracked), LiveTable)
        narrow = Console(file=io.StringIO(), force_terminal=True, width=59)
        dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
        assert isinstance(display_for(narrow, tracked), Lines) and isinstance(display_for(dumb, tracked), Lines)

    def test_a_line_for_each_change_and_no_more(
        self, lines: Lines, tracked: list[Tracked], written: io.StringIO
    ) -> None:
        with lines:
            for state in (JobState.WAITING, JobState.RUNNING, JobState.RUNNING, JobState.DONE, JobState.DONE):
                tracked[0].state = state
                lines.refresh()
        assert written.getvalue() == "Pendulum-v1 seed 0 dense: running\nPendulum-v1 seed 0 dense: done, 0 s\n"

    def test_a_line_now_and_then_about_a_run_under_way(
        self, lines: Lines, tracked: list[Tracked], written: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        times = iter((1000.0, 1010.0, 1029.0, 1031.0, 1040.0))
        monkeypatch.setattr(display.time, "monotonic", lambda: next(times))
        tracked[0].state = JobState.RUNNING
        for _ in range(5):
            lines.refresh()
        assert len(written.getvalue().splitlines()) == 2

    def test_what_was_done_before_is_not_repeated(self, tmp_path: Path, written: io.StringIO) -> None:
        tracked = tracked_jobs(tmp_path)
        for item in tracked:
            item.state = JobState.FOUND
        with Lines(Console(file=written), tracked) as lines:
            lines.refresh()
        assert written.getvalue() == ""

    def test_no_wrapping_no_colours_no_markup(self, lines: Lines, tracked: list[Tracked], written: io.StringIO) -> None:
        tracked[0].state, tracked[0].message = JobState.FAILED, "[bold]/a/long/path/that/is/wider/than/the/console.log"
        lines.refresh()
        assert written.getvalue() == f"Pendulum-v1 seed 0 dense: failed, {tracked[0].message}\n"


class TestTable:
    def test_a_line_a_job(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path)
        tracked[0].state, tracked[0].progress = JobState.RUNNING, HALF_WAY
        lines = text(tracked).splitlines()
        assert len(lines) == 4
        for part in ("Pendulum-v1 seed 0 dense", "running", "50%", "50", f"{MINUS}1,234.6", "0.50", "3 s"):
            assert part in lines[1]
        assert "magnitude-80 mask" in lines[2] and "waiting" in lines[2]

    @pytest.mark.parametrize("width", [40, 60, 80, 100])
    def test_a_narrow_terminal_shows_whole_words(self, tmp_path: Path, width: int) -> None:
        tracked = tracked_jobs(tmp_path, seeds=2)
        tracked[0].state, tracked[0].progress = JobState.RUNNING, HALF_WAY
        tracked[1].state, tracked[1].seconds = JobState.DONE, 3700.0
        lines = shown(jobs_table(tracked, None, width), width).splitlines()
        assert len(lines) == 7 and max(map(len, lines)) <= width
        assert all(len(line.split()) >= 3 for line in lines)
        assert "seed 0 dense  " in lines[1] and "  running  " in lines[1] and lines[1].rstrip().endswith("  3 s")
        assert lines[2].rstrip().endswith("1 h 1 min")
        assert (f"{MINUS}1,234.6" in lines[1]) == (width == 100)

    def test_what_runs_or_failed_is_shown_where_not_all_fit(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=20)
        for item in tracked[:15]:
            item.state = JobState.DONE
        tracked[3].state, tracked[15].state = JobState.FAILED, JobState.RUNNING
        lines = text(tracked, rows=5).splitlines()
        assert len(lines) == 6  # with the heading
        assert "seed 3 dense" in lines[1] and "failed" in lines[1]
        assert "seed 15 dense" in lines[2] and "running" in lines[2]
        assert "waiting" in lines[3] and "waiting" in lines[4]
        assert lines[5].strip() == "and 42 waiting, 14 done"

    def test_all_are_shown_at_the_end(self, tmp_path: Path) -> None:
        tracked = tracked_jobs(tmp_path, seeds=20)
        written = io.StringIO()
        with LiveTable(Console(file=written, force_terminal=True, width=120, height=10), tracked) as table:
            table.refresh()
            assert written.getvalue().count("Pendulum-v1") < 10
        assert written.getvalue().count("Pendulum-v1") >= 60

    def test_is_drawn_once_a_second_or_when_a_state_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        times = iter((1000.0, 1000.2, 1000.9, 1001.1, 1001.2))
        monkeypatch.setattr(display.time, "monotonic", lambda: next(times))
        tracked = tracked_jobs(tmp_path)
        table = LiveTable(Console(file=io.StringIO(), force_terminal=True), tracked)
        drawings: list[object] = []
        monkeypatch.setattr(table._live, "update", lambda drawing, refresh: drawings.append(drawing))
        drawn = []
        for state in (JobState.WAITING, JobState.WAITING, JobState.WAITING, JobState.WAITING, JobState.RUNNING):
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
