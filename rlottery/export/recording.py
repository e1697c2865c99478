"""Recording agents: one evaluation episode, with several agents side by side on the same one.

It runs code of the user and of drivers, so `rlottery.export.play` calls `record` in a child process.
"""

import base64
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlottery.config import Task
from rlottery.envs import EpisodeTotals
from rlottery.envs.rendering import BACKGROUND, Picture, Stage, without_a_screen
from rlottery.errors import StudyError
from rlottery.export.finished_run import read_finished
from rlottery.export.policy import Policy, load_agent
from rlottery.export.video import SizeLimit, VideoFormat, stride_of, video_bytes

HEADER = 44
"""Height of the text above a picture."""
AGENTS_PER_ROW = 4

_PLAIN, _FAINT, _GOOD = (235, 235, 235), (160, 160, 165), (90, 210, 120)


def record(
    folders: Sequence[str],
    episode: int,
    video_format: VideoFormat,
    size: tuple[int, int],
    limit: tuple[int, float] | None = None,
) -> tuple[str, list[tuple[object, ...]]]:
    """The video of an evaluation episode of finished runs, in base64, and the fields of each agent's `EpisodeEnd`.

    Args:
        folders: of the runs.
        size: width and height of each agent's picture.
        limit: the fields of a `SizeLimit`; the video then shows the beginning of the episode.
    """
    runs = [FilmedRun.read(Path(folder)) for folder in folders]
    seed = runs[0].episode_seed(episode)
    data, endings = _filmed(runs, seed, video_format, (size[0], size[1]), SizeLimit(*limit) if limit else None)
    return base64.b64encode(data).decode(), [astuple(ending) for ending in endings]


@dataclass(frozen=True)
class EpisodeEnd:
    """The result of an agent's episode. `success` is None if the task doesn't report it."""

    arm: str
    seed: int
    total: float
    steps: int
    success: bool | None

    def __str__(self) -> str:
        success = "" if self.success is None else f", {'success' if self.success else 'no success'}"
        return f"{self.arm}, seed {self.seed}: return {self.total:,.1f} in {self.steps:,} steps{success}."


@dataclass(frozen=True)
class FilmedRun:
    """A finished run, the seeds of the episodes that its study evaluates on, and its policy."""

    folder: Path
    task: Task
    seed: int
    arm: str
    seeds: Sequence[int]
    policy: Policy

    @classmethod
    def read(cls, folder: Path) -> "FilmedRun":
        """The run in a folder, whose environment may be made (`rlottery.storage.trust`)."""
        run, policy = read_finished(folder), load_agent(folder, trust=True)
        return cls(folder, run.task, run.seed, run.arm, run.evaluation_seeds(), policy)

    def episode_seed(self, episode: int) -> int:
        if not 0 <= episode < len(self.seeds):
            raise StudyError(
                f"The run in {self.folder} has no evaluation episode {episode}: episodes are numbered 0 to "
                f"{len(self.seeds) - 1}."
            )
        return self.seeds[episode]


@dataclass
class _Player:
    """One agent in its environment: its episode so far, and the last picture with its text."""

    run: FilmedRun
    stage: Stage
    observation: np.ndarray
    totals: EpisodeTotals = field(default_factory=EpisodeTotals)
    over: bool = False
    picture: Picture = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def act(self) -> None:
        """Take one step."""
        outcome = self.stage.environment.step(self.run.policy.squashed(self.observation))
        self.observation, self.over = outcome.observation, outcome.over
        self.totals.add(outcome)

    def look(self) -> None:
        """Render the current picture."""
        picture = self.stage.picture()
        header = Image.new("RGB", (picture.shape[1], HEADER), BACKGROUND)
        draw, policy = ImageDraw.Draw(header), self.run.policy
        sparse = f"{policy.sparsity:.1%} sparse".replace("%", " %") if policy.sparsity else ""
        steps = f"ended at step {self.totals.length:,}" if self.over else f"step {self.totals.length:,}"
        status, colour = ("success", _GOOD) if self.totals.success else (steps, _FAINT)
        _line(draw, 4, (f"{self.run.arm}, seed {self.run.seed}", _PLAIN), (sparse, _FAINT))
        _line(draw, 24, (f"return {self.totals.total:,.1f}", _PLAIN), (status, colour))
        self.picture = np.concatenate([np.asarray(header), picture])

    @property
    def ending(self) -> EpisodeEnd:
        return EpisodeEnd(self.run.arm, self.run.seed, self.totals.total, self.totals.length, self.totals.success)


def _filmed(
    runs: Sequence[FilmedRun],
    seed: int,
    video_format: VideoFormat,
    size: tuple[int, int],
    limit: SizeLimit | None = None,
) -> tuple[bytes, tuple[EpisodeEnd, ...]]:
    """A video of the episode of `seed`, or of its beginning within `limit`, and its results."""
    with ExitStack() as stack:
        players: list[_Player] = []
        for run in runs:
            stage = Stage(run.task, size)
            stack.callback(stage.close)
            if stage.needs_mujoco and not players:
                stack.enter_context(without_a_screen())
            players.append(_Player(run, stage, stage.environment.reset(seed)))
        per_second = Fraction(players[0].stage.steps_per_second).limit_denominator(1_000)
        stride = stride_of(video_format, float(per_second))
        pictures = _pictures(players, stride, limit.seconds * float(per_second) if limit else math.inf)
        data = video_bytes(pictures, video_format, per_second / stride, limit)
        return data, tuple(player.ending for player in players)


def _pictures(players: Sequence[_Player], stride: int, most_steps: float) -> Iterator[Picture]:
    """The pictures at the start, after every `stride` steps, and at the end."""
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
    """Several pictures of one size as one, in rows."""
    columns = min(len(pictures), AGENTS_PER_ROW)
    rows = -(-len(pictures) // columns)
    blank = np.full_like(pictures[0], BACKGROUND)
    filled = [*pictures, *[blank] * (rows * columns - len(pictures))]
    return np.concatenate([np.concatenate(filled[row * columns :][:columns], axis=1) for row in range(rows)])


def _line(
    draw: ImageDraw.ImageDraw, top: int, left: tuple[str, tuple[int, ...]], right: tuple[str, tuple[int, ...]]
) -> None:
    """Write text on both sides. The left text is shortened if it would touch the right one."""
    font, width = ImageFont.load_default(14), draw.im.size[0]
    end = width - 8 - font.getlength(right[0])
    text = left[0]
    while len(text) > 1 and 8 + font.getlength(text) > end - 8:
        text = text.removesuffix("…")[:-1] + "…"
    draw.text((8, top), text, left[1], font)
    draw.text((end, top), right[0], right[1], font)
