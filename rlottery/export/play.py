"""Watching trained agents: one evaluation episode as a film, several agents side by side on the same one."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlottery.config import Task
from rlottery.envs.rendering import BACKGROUND, Picture, Stage, without_a_screen
from rlottery.errors import RlotteryError, StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.policy import Policy, load_agent
from rlottery.export.video import Kind, Room, film_bytes, stride_of
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import read_bytes, write_bytes
from rlottery.storage.manifests import DamagedError
from rlottery.storage.paths import DENSE, Store

SIZE = (320, 240)
"""Width and height of an agent's picture."""
SIDES = range(64, 1921)
"""What either may be."""
HEADER = 44
"""Height of the words over a picture."""
COLUMNS = 4
"""Agents in a row."""
MOST_AGENTS = 16

REPORT_BYTES = 400_000
"""Room of a report's film: it is part of the page."""
MOST_BYTES = 10 * REPORT_BYTES
"""Of a film that is there already; more is none of this project's."""
REPORT_SECONDS = 10.0
"""Of an episode in a report."""

_PLAIN, _FAINT, _GOOD = (235, 235, 235), (160, 160, 165), (90, 210, 120)


@dataclass(frozen=True)
class Ending:
    """How an agent's episode went. `success` is None where the task knows none."""

    arm: str
    seed: int
    total: float
    steps: int
    success: bool | None

    def __str__(self) -> str:
        told = "" if self.success is None else f", {'success' if self.success else 'no success'}"
        return f"{self.arm}, seed {self.seed}: return {self.total:,.1f} in {self.steps:,} steps{told}."


@dataclass(frozen=True)
class Played:
    """A film, and what happens in it."""

    file: Path
    bytes: int
    episode: int
    endings: tuple[Ending, ...]

    def __str__(self) -> str:
        lines = [f"Wrote {self.file}, {self.bytes:,} bytes: evaluation episode {self.episode}."]
        return "\n".join([*lines, *map(str, self.endings)])


def play(folders: Sequence[Path], to: Path | None = None, episode: int = 0, size: tuple[int, int] = SIZE) -> Played:
    """Film one evaluation episode of finished runs of one task, side by side, with the same start and the same goal.

    A second of the film is a second of the task. An agent whose episode ends early holds its last picture.

    Args:
        folders: the runs'.
        to: the file, .mp4 or .gif; None is an MP4 in the working directory that is named after the runs.
        episode: which of the evaluation's, from 0 on: of the first run's study, where it counted.
        size: width and height of each agent's picture, both even.

    Raises:
        StudyError: no finished runs, or of several tasks; damaged files; a file that exists or can't be written.
        TaskError: the task can't be made.
        RenderingError: it can't be drawn here.
    """
    kind = _kind(to)
    if not 1 <= len(folders) <= MOST_AGENTS:
        raise StudyError(f"Give 1 to {MOST_AGENTS} runs' folders to play, not {len(folders)}.")
    if any(side not in SIDES or side % 2 for side in size):
        asked = f"must be even and within {SIDES[0]} to {SIDES[-1]}, not {size[0]}x{size[1]}"
        raise StudyError(f"The width and height of a picture {asked}.")
    runs = [_Run.read(folder) for folder in folders]
    for run in runs[1:]:
        if run.task != runs[0].task:
            raise StudyError(
                f"{run.folder} is of {_shown(run.task)}, {runs[0].folder} of {_shown(runs[0].task)}: runs that are "
                "shown side by side must be of one task."
            )
    seed = runs[0].episode_seed(episode)
    file = to or Path(f"{runs[0].task.name}_{'_beside_'.join(f'seed_{run.seed}_{run.arm}' for run in runs)[:150]}.mp4")
    if file.exists():
        raise StudyError(f"{file} exists already and was left alone. Give another name: --to FILE")
    data, endings = _filmed(runs, seed, kind, size)
    _write(file, data)
    return Played(file, len(data), episode, endings)


@dataclass(frozen=True)
class NoFilm:
    """There is no film, and why not, in a sentence."""

    why: str


def film_for_report(store: Store, task: Task, arm: str, seed: int) -> tuple[str, bytes] | NoFilm:
    """A short film of a dense agent beside a ticket, for a page to hold: its media type and its content.

    The first evaluation episode, or its first seconds. It is kept in the report's folder, and made anew when either
    agent is another. Nothing is raised: that a film can't be had is no reason for a report to fail.
    """
    try:
        return "video/mp4", _film_for_report(store, task, arm, seed)
    except (RlotteryError, OSError) as error:
        return NoFilm(str(error))
    except Exception as error:  # whatever a driver, a codec or an environment raises
        return NoFilm(f"{task.id} can't be filmed: {type(error).__name__}: {error}")


def _film_for_report(store: Store, task: Task, arm: str, seed: int) -> bytes:
    folders = [store.run(task.name, seed, name).folder for name in (DENSE, arm)]
    file = store.film(task.name, seed, arm, "-".join(read_finished(folder).digest[:12] for folder in folders))
    if file.is_file():
        return read_bytes(file, MOST_BYTES)
    runs = [_Run.read(folder) for folder in folders]
    data, _ = _filmed(runs, runs[0].episode_seed(0), "mp4", SIZE, REPORT_SECONDS, Room(REPORT_BYTES, REPORT_SECONDS))
    write_bytes(file, data)
    for of_agents_before in set(store.films(task.name, seed, arm)) - {file}:
        of_agents_before.unlink(missing_ok=True)
    return data


@dataclass(frozen=True)
class _Run:
    """A finished run, read to be played.

    Attributes:
        study, episodes: name of its study, and how many episodes an evaluation had.
    """

    folder: Path
    task: Task
    seed: int
    arm: str
    study: str
    episodes: int
    policy: Policy

    @classmethod
    def read(cls, folder: Path) -> "_Run":
        run, policy = read_finished(folder), load_agent(folder)
        fingerprint = run.manifest["fingerprint"]
        study, episodes = fingerprint.get("name"), fingerprint.get("evaluation", {}).get("episodes")
        if not isinstance(study, str) or not isinstance(episodes, int):
            raise DamagedError(run.files.manifest, "it doesn't say how the run was evaluated")
        return cls(folder, run.task, run.seed, run.arm, study, episodes, policy)

    def episode_seed(self, episode: int) -> int:
        """The seed of one of the evaluation's episodes."""
        if not 0 <= episode < self.episodes:
            raise StudyError(
                f"There is no evaluation episode {episode} of the run in {self.folder}: they are numbered "
                f"0 to {self.episodes - 1}."
            )
        return evaluation_seeds(self.study, self.task.name, self.episodes)[episode]


@dataclass
class _Player:
    """One agent on its stage.

    Attributes:
        total, steps: so far.
        picture: the last that was drawn, with its words.
    """

    run: _Run
    stage: Stage
    observation: np.ndarray
    total: float = 0.0
    steps: int = 0
    success: bool | None = None
    over: bool = False
    picture: Picture = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def act(self) -> None:
        """One step."""
        outcome = self.stage.environment.step(self.run.policy.squashed(self.observation))
        self.observation, self.over = outcome.observation, outcome.terminated or outcome.truncated
        self.total, self.steps = self.total + outcome.reward, self.steps + 1
        if outcome.success is not None:
            self.success = bool(self.success or outcome.success)

    def look(self) -> None:
        """Draw what there is to see now."""
        picture = self.stage.picture()
        header = Image.new("RGB", (picture.shape[1], HEADER), BACKGROUND)
        draw, policy = ImageDraw.Draw(header), self.run.policy
        sparse = f"{policy.sparsity:.1%} sparse".replace("%", " %") if policy.sparsity else ""
        steps = f"ended at step {self.steps:,}" if self.over else f"step {self.steps:,}"
        told, colour = ("success", _GOOD) if self.success else (steps, _FAINT)
        _line(draw, 4, (f"{self.run.arm}, seed {self.run.seed}", _PLAIN), (sparse, _FAINT))
        _line(draw, 24, (f"return {self.total:,.1f}", _PLAIN), (told, colour))
        self.picture = np.concatenate([np.asarray(header), picture])

    @property
    def ending(self) -> Ending:
        return Ending(self.run.arm, self.run.seed, self.total, self.steps, self.success)


def _filmed(
    runs: Sequence[_Run],
    seed: int,
    kind: Kind,
    size: tuple[int, int],
    seconds: float = math.inf,
    room: Room | None = None,
) -> tuple[bytes, tuple[Ending, ...]]:
    """The film of the episode that `seed` names, or of its first seconds, and how it went."""
    with ExitStack() as stack:
        players: list[_Player] = []
        for run in runs:
            stage = Stage(run.task, size)
            stack.callback(stage.close)
            if stage.needs_mujoco and not players:
                stack.enter_context(without_a_screen())
            players.append(_Player(run, stage, stage.environment.reset(seed)))
        per_second = Fraction(players[0].stage.steps_per_second).limit_denominator(1_000)
        stride = stride_of(kind, float(per_second))
        pictures = _pictures(players, stride, seconds * float(per_second))
        data = film_bytes(pictures, kind, per_second / stride, room)
        return data, tuple(player.ending for player in players)


def _pictures(players: Sequence[_Player], stride: int, most_steps: float) -> Iterator[Picture]:
    """What is seen at the start, then after every `stride` steps, and at the end."""
    for player in players:
        player.look()
    yield _side_by_side([player.picture for player in players])
    for step in itertools.count(1):
        playing = [player for player in players if not player.over]
        for player in playing:
            player.act()
        ends = all(player.over for player in players) or step >= most_steps
        shown = ends or step % stride == 0
        for player in playing:
            if shown or player.over:
                player.look()
        if shown:
            yield _side_by_side([player.picture for player in players])
        if ends:
            return


def _side_by_side(pictures: Sequence[Picture]) -> Picture:
    """One picture of several of one size, in rows."""
    columns = min(len(pictures), COLUMNS)
    rows = -(-len(pictures) // columns)
    blank = np.full_like(pictures[0], BACKGROUND)
    filled = [*pictures, *[blank] * (rows * columns - len(pictures))]
    return np.concatenate([np.concatenate(filled[row * columns :][:columns], axis=1) for row in range(rows)])


def _line(
    draw: ImageDraw.ImageDraw, top: int, left: tuple[str, tuple[int, ...]], right: tuple[str, tuple[int, ...]]
) -> None:
    """Words at either side; those on the left are cut where they would meet the others."""
    font, width = ImageFont.load_default(14), draw.im.size[0]
    end = width - 8 - font.getlength(right[0])
    words = left[0]
    while len(words) > 1 and 8 + font.getlength(words) > end - 8:
        words = words.removesuffix("…")[:-1] + "…"
    draw.text((8, top), words, left[1], font)
    draw.text((end, top), right[0], right[1], font)


def _kind(to: Path | None) -> Kind:
    if to is None:
        return "mp4"
    for kind in get_args(Kind):
        if to.suffix.lower() == f".{kind}":
            return kind  # type: ignore[no-any-return]
    raise StudyError(f"{to} is to be which kind of film? Give a name that ends in .mp4 or .gif: --to FILE")


def _shown(task: Task) -> str:
    return f"{task.id} with {task.kwargs}" if task.kwargs else task.id


def _write(file: Path, data: bytes) -> None:
    try:
        write_bytes(file, data)
    except OSError as error:
        why = f"{file.parent} is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise StudyError(f"{file} can't be written: {why}. Give another place: --to FILE") from None
