"""Videos of trained agents: they show the episodes that were scored, and bad input is one message before any work."""

import io
import shutil
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from rlottery.envs.rendering import RenderingError, Stage, without_a_screen
from rlottery.errors import RlotteryError, StudyError, TaskError
from rlottery.export.play import REPORT_BYTES, ReportFilm, play
from rlottery.export.recording import HEADER
from rlottery.export.video import SizeLimit, stride_of, video_bytes
from rlottery.processes.children import call_in_child
from rlottery.report.folders import film_files
from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.trust import note_run
from tests.laboratory import Laboratory, laboratory
from tests.study.studies import change_manifest, contents

SIZE = (96, 64)


class Drawn(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point that the action moves; an episode ends after 40 to 59 steps, by its seed. NumPy draws it.

    Its left half is as bright as the episode's own number says, its right half as the steps so far.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, render_mode: str | None = None, draws: bool = True) -> None:
        self.render_mode, self._draws = render_mode, draws

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.shade, self.place, self.steps = int(self.np_random.integers(50, 250)), 0.0, 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place += float(action[0])
        return self._observe(), -abs(self.place), self.steps == 40 + self.shade % 20, False, {"success": False}

    def render(self) -> Any:
        if not self._draws:
            return None
        picture = np.full((SIZE[1], SIZE[0], 3), self.shade, np.uint8)
        picture[:, SIZE[0] // 2 :] = 4 * self.steps
        return picture

    def _observe(self) -> np.ndarray:
        return np.array([self.place, self.shade / 250], np.float32)


gymnasium.register("rlottery-tests/Drawn-v0", entry_point=Drawn)

ARMS = "arms:\n  - {name: magnitude, criterion: magnitude, sparsity: 0.5}\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    tasks = "tasks=['rlottery-tests/Drawn-v0', {id: Pendulum-v1, kwargs: {g: 9.0}}]"
    small = ("training.env_steps=120", "training.warmup_steps=100", "evaluation.interval=120", "evaluation.episodes=3")
    made = laboratory(tmp_path_factory.mktemp("play"), ARMS, tasks, *small, "seeds=[0]")
    made.run()
    note_command(made.config, has_work=True, ran=note_run(made.config))
    return made


@pytest.fixture
def runs(lab: Laboratory) -> Path:
    """The folder of the drawn task's runs."""
    return lab.job("dense").files.folder.parent


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def frames(film: Path | bytes) -> list[np.ndarray]:
    """All pictures of a video, as PyAV decodes them."""
    with av.open(io.BytesIO(film) if isinstance(film, bytes) else str(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def last_evaluation(folder: Path) -> dict[str, Any]:
    return read_evaluations(RunFiles(folder).metrics)[-1]


class TestFilm:
    @pytest.mark.parametrize("episode", [0, 2])
    def test_it_is_the_episode_that_counted(self, runs: Path, episode: int) -> None:
        row = last_evaluation(runs / "dense")
        assert len(set(row["lengths"])) > 1, "alike episodes would show nothing"
        (ending,) = play([runs / "dense"], Path("film.mp4"), episode, SIZE).endings
        assert ending.total == pytest.approx(row["returns"][episode], rel=1e-5)
        assert (ending.steps, ending.success) == (row["lengths"][episode], False)

    def test_its_pictures(self, runs: Path) -> None:
        played = play([runs / "dense"], Path("film.mp4"), 0, SIZE)
        steps, shown = played.endings[0].steps, frames(played.file)
        # Of 60 a second every other one, and the start and the end.
        assert len(shown) == 1 + steps // 2 + steps % 2
        assert {picture.shape for picture in shown} == {(SIZE[1] + HEADER, SIZE[0], 3)}
        lit = [float(picture[HEADER + 8 : -8, SIZE[0] // 2 + 8 : -8].mean()) for picture in shown]
        told = [4 * step for step in (*range(0, steps, 2), steps)]
        np.testing.assert_allclose(lit, told, atol=6)  # what H.264 leaves of them

    def test_what_a_browser_needs(self, runs: Path) -> None:
        data = play([runs / "dense"], Path("film.mp4"), 0, SIZE).file.read_bytes()
        with av.open(io.BytesIO(data)) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            assert stream.average_rate == 30
        assert 0 < data.index(b"moov") < data.index(b"mdat"), "it could not begin before it is all there"

    def test_side_by_side_on_the_same_start(self, runs: Path) -> None:
        played = play([runs / "dense", runs / "magnitude"], Path("film.mp4"), 1, SIZE)
        shown = frames(played.file)
        assert {picture.shape for picture in shown} == {(SIZE[1] + HEADER, 2 * SIZE[0], 3)}
        for picture in shown:
            left, right = (picture[HEADER + 8 : -8, start + 8 : start + 40].mean() for start in (0, SIZE[0]))
            assert left == pytest.approx(right, abs=3)
        returns = [last_evaluation(runs / arm)["returns"][1] for arm in ("dense", "magnitude")]
        assert [ending.total for ending in played.endings] == pytest.approx(returns, rel=1e-5)
        assert returns[0] != pytest.approx(returns[1], rel=1e-3)

    def test_words_stand_over_every_picture(self, runs: Path) -> None:
        first, *_, last = frames(play([runs / "dense"], Path("film.mp4"), 0, (320, 240)).file)
        assert first[:HEADER].max() > 180 and last[:HEADER].max() > 180
        assert np.abs(first[22:HEADER].astype(int) - last[22:HEADER]).max() > 100, "return and steps go on"

    def test_a_gif_lasts_as_long_as_the_episode(self, runs: Path) -> None:
        played = play([runs / "dense"], Path("film.gif"), 0, SIZE)
        with Image.open(played.file) as film:
            lasted = 0
            for index in range(film.n_frames):
                film.seek(index)
                lasted += film.info["duration"]
            assert film.size == (SIZE[0], SIZE[1] + HEADER)
            # The last picture is held as any other; the one before it may stand for fewer steps.
            assert lasted == pytest.approx(1000 * played.endings[0].steps / 60, abs=2 * 1000 / 15)
            assert film.n_frames >= played.endings[0].steps // 4

    def test_a_picture_of_other_proportions_is_fitted(self, runs: Path) -> None:
        picture = frames(play([runs / "dense"], Path("film.mp4"), 0, (192, 64)).file)[-1][HEADER:]
        assert picture.shape == (64, 192, 3)
        assert picture[:, :40].max() < 50 < picture[:, 60:90].min()

    def test_the_same_again_and_what_is_said(self, runs: Path) -> None:
        one, other = (play([runs / "dense"], Path(name), 0, SIZE) for name in ("one.mp4", "other/film.mp4"))
        assert one.file.read_bytes() == other.file.read_bytes()
        told, ending = str(one).splitlines()
        assert told == f"Wrote one.mp4, {one.file.stat().st_size:,} bytes: evaluation episode 0."
        assert ending.startswith("dense, seed 0: return -") and ending.endswith("steps, no success.")

    def test_without_a_name_it_is_the_runs(self, runs: Path) -> None:
        play([runs / "dense", runs / "magnitude"], size=SIZE)
        name = "rlottery-tests_Drawn-v0_seed_0_dense_beside_seed_0_magnitude.mp4"
        assert [path.name for path in Path().iterdir()] == [name]

    def test_five_agents_take_two_rows(self, runs: Path) -> None:
        shown = frames(play([runs / "dense"] * 5, Path("film.mp4"), 0, SIZE).file)
        assert shown[0].shape == (2 * (SIZE[1] + HEADER), 4 * SIZE[0], 3)


class Pausing(Drawn):
    """Episodes have another length in every new environment: the second agent's episode is longer than the first's."""

    made = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        if self.render_mode is not None:
            self.shade = 40 + 19 * (Pausing.made % 2)  # ends after 40 and 59 steps
            Pausing.made += 1
        return self._observe(), {}


def test_who_ends_early_holds_the_last_picture(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.registry["rlottery-tests/Drawn-v0"], "entry_point", Pausing)
    played = play([runs / "dense", runs / "dense"], Path("film.mp4"), 0, SIZE)
    assert [ending.steps for ending in played.endings] == [40, 59]
    shown = frames(played.file)
    assert len(shown) == 1 + 59 // 2 + 1
    held = [float(picture[HEADER + 8 : -8, 56:88].mean()) for picture in shown[20:]]
    np.testing.assert_allclose(held, 160, atol=6)
    assert shown[-1][HEADER + 8 : -8, SIZE[0] + 56 : SIZE[0] + 88].mean() == pytest.approx(236, abs=6)


@pytest.mark.parametrize(
    ("kind", "per_second", "stride"),
    [("mp4", 80, 3), ("mp4", 20, 1), ("mp4", 30, 1), ("mp4", 30.5, 2), ("mp4", 125, 5), ("gif", 20, 2), ("gif", 80, 6)],
)
def test_no_second_has_more_pictures_than_it_may(kind: Any, per_second: float, stride: int) -> None:
    assert stride_of(kind, per_second) == stride


def test_a_gif_keeps_time_though_it_counts_in_hundredths() -> None:
    pictures = [np.full((16, 16, 3), 255 * (index % 2), np.uint8) for index in range(20)]
    with Image.open(io.BytesIO(video_bytes(iter(pictures), "gif", Fraction(40, 3)))) as film:
        lasted = []
        for index in range(film.n_frames):
            film.seek(index)
            lasted.append(film.info["duration"])
    assert sum(lasted) == 1500 and set(lasted) == {70, 80}


def test_a_gif_has_the_colours_of_later_pictures_too() -> None:
    pictures = [np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), (250, 5, 90), np.uint8)]
    with Image.open(io.BytesIO(video_bytes(iter(pictures), "gif", Fraction(10)))) as film:
        film.seek(1)
        np.testing.assert_allclose(np.asarray(film.convert("RGB")), pictures[1], atol=43)


def refusal(*arguments: Any, trust: bool = False) -> str:
    """What is said when nothing may be written."""
    before = contents(Path())
    with pytest.raises(RlotteryError) as error:
        play(*arguments, trust=trust)
    assert contents(Path()) == before
    return str(error.value)


class TestRefusals:
    @pytest.fixture(autouse=True)
    def nothing_is_drawn(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        def draw(_: Stage) -> None:
            raise AssertionError("it was drawn first")

        monkeypatch.setattr(Stage, "picture", draw)
        yield

    def test_a_name_of_no_film(self, runs: Path) -> None:
        assert "Give a name that ends in .mp4 or .gif" in refusal([runs / "dense"], Path("film.avi"))

    def test_no_pyav(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        said = refusal([runs / "dense"], Path("film.mp4"))
        assert said.startswith("MP4 videos need PyAV: pip install 'rlottery[film]'")
        said = refusal([runs / "nosuch"], Path("film.mp4"))  # the command's own fault comes first
        assert "nosuch is not a folder" in said and "PyAV" not in said

    def test_an_existing_file(self, runs: Path) -> None:
        Path("film.mp4").write_text("mine")
        assert "film.mp4 already exists and was not changed" in refusal([runs / "dense"], Path("film.mp4"))

    def test_runs_of_two_tasks(self, runs: Path) -> None:
        other = runs.parent.parent / "Pendulum-v1" / "seed_0" / "dense"
        said = refusal([runs / "dense", other], Path("film.mp4"))
        assert "is of Pendulum-v1 with {'g': 9.0}" in said and "must be of the same task" in said

    def test_no_such_episode(self, runs: Path) -> None:
        for episode in (3, -1):
            said = refusal([runs / "dense"], Path("film.mp4"), episode)
            assert f"no evaluation episode {episode}" in said and "numbered 0 to 2" in said

    @pytest.mark.parametrize("size", [(321, 240), (320, 32), (4000, 240)])
    def test_a_size_that_no_film_can_have(self, runs: Path, size: tuple[int, int]) -> None:
        assert f"not {size[0]}x{size[1]}" in refusal([runs / "dense"], Path("film.mp4"), 0, size)

    @pytest.mark.parametrize("number", [0, 17])
    def test_none_or_too_many(self, runs: Path, number: int) -> None:
        assert "Give the folders of 1 to 16 runs" in refusal([runs / "dense"] * number, Path("film.mp4"))

    def test_no_run(self, runs: Path) -> None:
        assert "contains no run" in refusal([runs / "dense", runs], Path("film.mp4"))

    def test_a_run_that_does_not_say_how_it_was_evaluated(self, lab: Laboratory, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(lab.job("dense").files.folder, tmp_path / "copy"))
        change_manifest(
            RunFiles(folder), fingerprint={"sac": {}, "task": {"id": "rlottery-tests/Drawn-v0", "kwargs": {}}}
        )
        assert "it doesn't say how the run was evaluated" in refusal([folder], Path("film.mp4"), trust=True)


class TestWhatCannotBeDrawn:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            (None, "None"),
            ([], "a list of 0 entries"),
            ("picture", "'picture' (of type str)"),
            (np.full((37, 53, 3), 0.5), "an array of shape (37, 53, 3) and dtype float64"),
            (np.full((37, 53, 3), 0.5, np.float32), "an array of shape (37, 53, 3) and dtype float32"),
            (np.zeros((37, 53, 4), np.uint8), "an array of shape (37, 53, 4) and dtype uint8"),
            (np.zeros((37, 53), np.uint8), "an array of shape (37, 53) and dtype uint8"),
            (np.zeros((0, 53, 3), np.uint8), "an array of shape (0, 53, 3) and dtype uint8"),
            ([np.zeros((37, 53, 3), np.uint8)] * 2, "a list of 2 entries"),
        ],
    )
    def test_what_is_no_picture_is_described(
        self, runs: Path, monkeypatch: pytest.MonkeyPatch, given: Any, said: str
    ) -> None:
        monkeypatch.setattr(Drawn, "render", lambda self: given)
        wanted = "its render() must return a uint8 array of shape (height, width, 3), but it returned"
        assert refusal([runs / "dense"], Path("film.mp4")).endswith(f"{wanted} {said}.")

    @pytest.mark.parametrize("rate", [0, -30, float("nan"), None, "fast", "30", 29.97, 1e6, 1e-9, True, [30]])
    @pytest.mark.parametrize("step", [0.0, None])
    def test_any_rate_makes_a_film(
        self, runs: Path, monkeypatch: pytest.MonkeyPatch, rate: Any, step: float | None
    ) -> None:
        monkeypatch.setattr(Drawn, "metadata", {"render_modes": ["rgb_array"], "render_fps": rate})
        monkeypatch.setattr(Drawn, "dt", step, raising=False)
        played = play([runs / "dense"], Path("film.gif"), 0, (64, 64))
        with Image.open(played.file) as film:
            assert film.n_frames >= played.endings[0].steps // 3

    def test_pictures_of_any_size_that_changes(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Drawn, "render", lambda self: np.zeros((37 + self.steps, 53, 3), np.uint8))
        assert {picture.shape for picture in frames(play([runs / "dense"], Path("film.mp4"), 0, SIZE).file)} == {
            (SIZE[1] + HEADER, SIZE[0], 3)
        }

    def test_one_that_fails_to(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: Drawn) -> None:
            raise ImportError("pygame is not installed")

        monkeypatch.setattr(Drawn, "render", fail)
        assert "can't be rendered here: ImportError: pygame is not installed" in refusal(
            [runs / "dense"], Path("film.mp4")
        )

    def test_one_that_can_not_be_closed_has_a_film(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Drawn, "close", lambda self: 1 / 0)
        assert frames(play([runs / "dense"], Path("film.mp4"), 0, SIZE).file)

    def test_one_that_takes_no_render_mode(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Drawn, "__init__", lambda self: None)
        said = (
            r"^rlottery-tests/Drawn-v0 can't be rendered: .*\(\) takes no argument 'render_mode'\. To render it, "
            r"let it take render_mode=None, and let render\(\) return pictures in the mode \"rgb_array\" \(docs/play"
        )
        with pytest.raises(RenderingError, match=said):
            play([runs / "dense"], Path("film.mp4"))

    def test_one_whose_window_fails(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: Drawn, render_mode: str | None = None) -> None:
            if render_mode:
                raise RuntimeError("no GL context")

        monkeypatch.setattr(Drawn, "__init__", start)
        with pytest.raises(RenderingError, match="can't be rendered: .*RuntimeError: no GL context"):
            play([runs / "dense"], Path("film.mp4"))

    def test_a_task_that_is_gone(self, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(gymnasium.registry, "rlottery-tests/Drawn-v0")
        with pytest.raises(TaskError, match="Unknown task"):
            play([runs / "dense"], Path("film.mp4"))

    def test_a_folder_that_is_none(self, runs: Path) -> None:
        Path("file").write_text("text")
        with pytest.raises(StudyError, match="file/film.mp4 can't be written: file is not a folder"):
            play([runs / "dense"], Path("file/film.mp4"), 0, SIZE)


class TestOfAReport:
    def film(self, lab: Laboratory, arm: str = "magnitude") -> ReportFilm:
        store = Store(lab.config.data)
        return ReportFilm(store, lab.config.tasks[0], arm, 0, film_files(store.report))

    def why_not(self, lab: Laboratory, arm: str = "magnitude") -> str:
        with pytest.raises(RlotteryError) as caught:
            self.film(lab, arm).make()
        return str(caught.value)

    def listed(self, lab: Laboratory) -> list[Path]:
        return sorted(path for path in Store(lab.config.data).report.iterdir() if path.suffix == ".mp4")

    def test_it_is_made_once(self, lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
        data, in_the_way = self.film(lab).make()
        assert len(data) < REPORT_BYTES and in_the_way == []
        assert frames(data)[0].shape == (240 + HEADER, 640, 3)
        assert [path.read_bytes() for path in self.listed(lab)] == [data]
        monkeypatch.setattr("rlottery.export.play.call_in_child", None)
        assert self.film(lab).kept() == data

    def test_films_that_this_version_did_not_write_are_not_shown(
        self, lab: Laboratory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data, _ = self.film(lab).make()
        (path,) = self.listed(lab)
        path.write_bytes(b"planted")
        assert self.film(lab).kept() is None
        path.write_bytes(data)
        assert self.film(lab).kept() == data
        monkeypatch.setattr("rlottery.storage.owned_files.__version__", "0.0.1")
        assert self.film(lab).kept() is None
        (path.parent / "film_files.json").unlink()
        assert self.film(lab).kept() is None
        path.unlink()

    def test_films_of_agents_before_are_removed_and_no_others(self, lab: Laboratory) -> None:
        self.film(lab).make()
        (film,) = self.listed(lab)
        before = film.with_stem(f"{film.stem[:-25]}{'a' * 12}-{'b' * 12}").name
        others = ["film.mp4", before.replace("magnitude", "magnitude_more"), before.replace("aaa", "ccc")]
        film_files(film.parent).update({before: b"film", others[1]: b"film"}, ())
        for other in (others[0], others[2]):
            (film.parent / other).write_bytes(b"mine")
        assert self.film(lab).make()[1] == []
        assert {path.name for path in self.listed(lab)} == {film.name, *others}
        for other in others:
            (film.parent / other).unlink()

    def test_other_agents_are_filmed_anew(self, lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.film(lab).make()
        monkeypatch.setattr("rlottery.export.recording.load_agent", lambda folder, **_: None)
        change_manifest(lab.job("magnitude").files, files={"agent.safetensors": {"sha256": "0" * 64, "bytes": 1}})
        assert self.film(lab).kept() is None, "the film of the agent before is not shown"
        assert "could be made" in self.why_not(lab)

    def test_it_is_told_why_there_is_none(self, lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RlotteryError, match="nosuch is not a folder"):
            self.film(lab, "nosuch").kept()
        monkeypatch.setattr(Drawn, "render", lambda self: None)
        assert "rlottery-tests/Drawn-v0 can't be rendered" in self.why_not(lab, "dense")
        monkeypatch.setattr("rlottery.export.recording.video_bytes", lambda *_: 1 / 0)
        assert self.why_not(lab, "dense") == (
            "No video of rlottery-tests/Drawn-v0 could be made: ZeroDivisionError: division by zero"
        )


MODULE = """
import gymnasium, os
from tests.export.test_play import Drawn

class Leaves(Drawn):
    def render(self):
        os.chdir("/")
        if self.steps:
            os._exit(0)
        return super().render()

gymnasium.register("Leaves-v0", entry_point=Leaves)
"""


def test_code_that_leaves_while_it_draws_is_no_film(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlottery.export.play.call_in_child", call_in_child)
    (tmp_path / "leaving.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    folder = Path(shutil.copytree(lab.job("dense").files.folder, tmp_path / "copy"))
    fingerprint = read_manifest(RunFiles(folder))["fingerprint"]  # type: ignore[index]
    change_manifest(RunFiles(folder), fingerprint={**fingerprint, "task": {"id": "leaving:Leaves-v0", "kwargs": {}}})
    assert refusal([folder], Path("film.mp4"), trust=True) == (
        "No video of leaving:Leaves-v0 could be made: its process ended with exit code 0"
    )


class TestSizeLimit:
    def film(self, pictures: list[np.ndarray], limit: SizeLimit | None) -> bytes:
        return video_bytes(iter(pictures), "mp4", Fraction(30), limit)

    def test_noise_is_made_to_fit(self) -> None:
        noise = list(np.random.default_rng(0).integers(0, 256, (60, 96, 160, 3), dtype=np.uint8))
        limit = SizeLimit(60_000, 2.0)
        assert len(self.film(noise, None)) > 2 * limit.bytes > 2 * len(self.film(noise, limit))
        assert len(frames(self.film(noise, limit))) == 60

    def test_a_film_that_fits_loses_nothing(self) -> None:
        still = [np.full((96, 160, 3), 2 * index, np.uint8) for index in range(60)]
        shown = [frames(self.film(still, limit)) for limit in (None, SizeLimit(60_000, 2.0))]
        np.testing.assert_allclose(np.array(shown[0], int), np.array(shown[1], int), atol=2)


class TestMuJoCo:
    @pytest.fixture
    def drawing(self) -> Iterator[None]:
        try:
            with without_a_screen():
                yield
        except RenderingError as error:
            pytest.skip(str(error))

    @pytest.mark.parametrize("task", ["InvertedDoublePendulum-v5", "drawer-close-v3"])
    def test_two_at_once_and_one_after_the_other(self, lab: Laboratory, drawing: None, task: str) -> None:
        of = lab.config.tasks[0].model_copy(update={"id": task})
        for _ in range(2):
            stages = [Stage(of, SIZE), Stage(of, SIZE)]
            for stage, seed in zip(stages, (1, 1), strict=True):
                stage.environment.reset(seed)
            before = [stage.picture() for stage in stages]
            np.testing.assert_array_equal(before[0], before[1])
            assert before[0].shape == (SIZE[1], SIZE[0], 3) and before[0].std() > 5
            for _ in range(20):
                stages[1].environment.step(np.full(stages[1].environment.action_size, 1.0))
            # The second has moved, and nothing of it is seen in the first.
            np.testing.assert_array_equal(stages[0].picture(), before[0])
            assert np.abs(stages[1].picture().astype(int) - before[1]).max() > 50
            for stage in stages:
                stage.close()

    def test_meta_worlds_table_stands_on_its_legs(self, lab: Laboratory, drawing: None) -> None:
        stage = Stage(lab.config.tasks[0].model_copy(update={"id": "drawer-close-v3"}), (160, 120))
        stage.environment.reset(1)
        picture = stage.picture().astype(int)
        assert stage.steps_per_second == 80
        stage.close()
        red, green, blue = np.moveaxis(picture, 2, 0)
        arm, drawer = (red > 2 * green) & (red > 2 * blue) & (red > 60), (green > 1.2 * red) & (green > 1.2 * blue)
        assert arm.sum() > 300 and drawer.sum() > 300
        # The arm reaches down from the upper left to the drawer.
        assert np.argwhere(arm).mean(axis=0)[0] < np.argwhere(drawer).mean(axis=0)[0]
        assert np.argwhere(arm).mean(axis=0)[1] < np.argwhere(drawer).mean(axis=0)[1]
