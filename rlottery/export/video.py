"""Films: pictures one after the other, as an MP4 that browsers play, or as a GIF."""

import io
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from rlottery.envs.rendering import Picture

Kind = Literal["mp4", "gif"]

MOST_PER_SECOND: dict[Kind, int] = {"mp4": 30, "gif": 15}
"""Pictures that a film shows in a second; every picture of a GIF costs its size anew."""
QUALITY = 28
"""H.264's constant rate factor: from 18, which the eye takes for lossless, to 51."""
COLOURS = 128
"""Of a GIF."""


def stride_of(kind: Kind, per_second: float) -> int:
    """Every how many of `per_second` pictures are shown, so that no second has more than the kind of film may have."""
    return max(1, -int(-per_second // MOST_PER_SECOND[kind]))


@dataclass(frozen=True)
class Room:
    """What an MP4 of a known length may take; its pictures lose quality where they would need more.

    Attributes:
        bytes: in all, kept to as well as x264 can.
        seconds: that it lasts at most.
    """

    bytes: int
    seconds: float

    @property
    def options(self) -> dict[str, str]:
        """Of x264: a buffer that begins at most full and is filled at a rate, half of the room each."""
        half = 4 * self.bytes
        return {"bufsize": str(half), "maxrate": str(int(half / self.seconds))}


def film_bytes(pictures: Iterable[Picture], kind: Kind, per_second: Fraction, room: Room | None = None) -> bytes:
    """The content of a film's file; its pictures are asked for one at a time.

    Args:
        pictures: one or more of one size, both sides even.
        per_second: that are shown.
        room: of an MP4; None is as much as it needs.
    """
    return _mp4(pictures, per_second, room) if kind == "mp4" else _gif(pictures, per_second)


def _mp4(pictures: Iterable[Picture], per_second: Fraction, room: Room | None) -> bytes:
    """H.264 in 4:2:0, as every browser plays it, with its index in front, so that it begins before it is all there."""
    import av  # brings all of FFmpeg

    with tempfile.TemporaryDirectory(prefix="rlottery-") as folder:
        # A file, for FFmpeg opens it once more to bring the index to the front.
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
            options = {"crf": str(QUALITY), "preset": "medium", **(room.options if room else {})}
            stream = container.add_stream("libx264", rate=per_second, options=options)
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = 1  # cores are for training; and the same pictures give the same bytes
            for index, picture in enumerate(pictures):
                if index == 0:
                    stream.height, stream.width = picture.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _gif(pictures: Iterable[Picture], per_second: Fraction) -> bytes:
    from PIL import Image

    shown = (Image.fromarray(picture) for picture in pictures)
    first = next(shown)
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette(first.quantize(COLOURS // 2).getpalette() or []))
    # One palette and no dithering: what does not move then costs nothing.
    still, *rest = (
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in itertools.chain([first], shown)
    )
    stream = io.BytesIO()
    durations = list(_milliseconds(len(rest) + 1, per_second))
    still.save(stream, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return stream.getvalue()


def _palette(of_first: list[int]) -> list[int]:
    """Colours as red, green, blue and so on: half are the first picture's, half lie evenly, for what comes later."""
    levels = (0, 85, 170, 255)
    even = [level for colour in itertools.product(levels, repeat=3) for level in colour]
    return of_first[: 3 * COLOURS // 2] + even


def _milliseconds(pictures: int, per_second: Fraction) -> Iterator[int]:
    """How long each picture of a GIF is shown: it counts in hundredths of a second, so that some last longer."""
    ends = [round(100 * index / per_second) for index in range(pictures + 1)]
    for index in range(pictures):
        yield 10 * (ends[index + 1] - ends[index])
