"""Videos from pictures: MP4 that browsers can play, or GIF."""

import importlib.util
import io
import itertools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from rlottery.envs.rendering import Picture, RenderingError
from rlottery.errors import install_extra

VideoFormat = Literal["mp4", "gif"]

MOST_PER_SECOND: dict[VideoFormat, int] = {"mp4": 30, "gif": 15}
"""Most pictures per second. A GIF grows with every picture."""
QUALITY = 28
"""H.264's constant rate factor: 18 looks lossless, 51 is worst."""
GIF_COLOURS = 128


def check_encoder(video_format: VideoFormat) -> None:
    """Check that videos of this format can be written.

    Raises:
        RenderingError: PyAV, which writes MP4, isn't installed.
    """
    if video_format == "mp4" and importlib.util.find_spec("av") is None:
        raise RenderingError(f"MP4 videos need PyAV: {install_extra('film')}")


def stride_of(video_format: VideoFormat, per_second: float) -> int:
    """Show every n-th of `per_second` pictures, to stay within the format's most pictures per second."""
    return max(1, -int(-per_second // MOST_PER_SECOND[video_format]))


@dataclass(frozen=True)
class SizeLimit:
    """Size limit of an MP4 of known length. The quality of its pictures is reduced to stay within it.

    Attributes:
        bytes: total size, which x264 meets approximately.
        seconds: longest duration.
    """

    bytes: int
    seconds: float


def video_bytes(
    pictures: Iterable[Picture], video_format: VideoFormat, per_second: Fraction, limit: SizeLimit | None = None
) -> bytes:
    """The content of a video file. Pictures are read one at a time.

    Args:
        pictures: one or more pictures of the same size, with even sides.
        per_second: pictures per second.
        limit: size limit of an MP4; None for no limit.
    """
    return _mp4(pictures, per_second, limit) if video_format == "mp4" else _gif(pictures, per_second)


def _mp4(pictures: Iterable[Picture], per_second: Fraction, limit: SizeLimit | None) -> bytes:
    """H.264 in 4:2:0, which every browser plays, with its index in front so that playback can start while loading."""
    import av  # slow to import: it loads FFmpeg

    with tempfile.TemporaryDirectory(prefix="rlottery-") as folder:
        # A file, because FFmpeg reopens it to move the index to the front.
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
            options = {"crf": str(QUALITY), "preset": "medium"}
            if limit:  # an initial buffer and a rate, with half of the bytes each
                options |= {"bufsize": str(4 * limit.bytes), "maxrate": str(int(4 * limit.bytes / limit.seconds))}
            stream = container.add_stream("libx264", rate=per_second, options=options)
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = 1  # leaves cores to training, and makes the bytes reproducible
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
    # Half of the palette is from the first picture, the other half is evenly spaced for later pictures.
    of_first = (first.quantize(GIF_COLOURS // 2).getpalette() or [])[: 3 * GIF_COLOURS // 2]
    even = [level for colour in itertools.product((0, 85, 170, 255), repeat=3) for level in colour]
    palette = Image.new("P", (1, 1))
    palette.putpalette(of_first + even)
    # One palette and no dithering: what does not move then takes no space.
    still, *rest = (
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in itertools.chain([first], shown)
    )
    stream = io.BytesIO()
    durations = _milliseconds(len(rest) + 1, per_second)
    still.save(stream, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return stream.getvalue()


def _milliseconds(pictures: int, per_second: Fraction) -> list[int]:
    """Duration of each picture of a GIF. GIFs count in hundredths of a second, so some pictures last longer."""
    ends = [round(100 * index / per_second) for index in range(pictures + 1)]
    return [10 * (end - start) for start, end in itertools.pairwise(ends)]
