"""A figure as PNG and SVG from one pass over its parts. Matplotlib's `savefig` makes a pass for each format."""

import io
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextToPath
from matplotlib.transforms import Affine2D, Bbox, TransformedPath
from numpy.typing import NDArray
from PIL import Image

_POINTS = 72
"""The dots per inch of an SVG: its unit is a point."""


def png_and_svg(figure: Figure, dots_per_inch: int) -> tuple[bytes, str]:
    """The figure as a PNG of this resolution, and as an SVG document without a date.

    Text has the same places in both, and is drawn as outlines.
    """
    width, height = figure.get_size_inches()
    figure.dpi = _POINTS
    svg = io.StringIO()
    renderer = _Renderer(
        RendererSVG(width * _POINTS, height * _POINTS, svg, metadata={"Date": None}),  # type: ignore[no-untyped-call]
        RendererAgg(width * dots_per_inch, height * dots_per_inch, dots_per_inch),  # type: ignore[no-untyped-call]
    )
    figure.draw(renderer)
    renderer.svg.finalize()
    return renderer.png(), svg.getvalue()


class _Renderer(RendererBase):
    """Draws on both. Matplotlib computes places in points; in the PNG, they are scaled. Widths of lines are points."""

    def __init__(self, svg: Any, agg: Any) -> None:
        super().__init__()
        self.svg, self._agg = svg, agg
        self._scale = Affine2D().scale(agg.dpi / _POINTS)

    def png(self) -> bytes:
        """What is drawn, as PNG."""
        stream, dots = io.BytesIO(), (self._agg.dpi, self._agg.dpi)
        Image.fromarray(np.asarray(self._agg.buffer_rgba())).save(stream, "png", dpi=dots)
        return stream.getvalue()

    def draw_path(self, gc: GraphicsContextBase, path: Path, transform: Any, rgbFace: Any = None) -> None:  # noqa: N803
        self.svg.draw_path(gc, path, transform, rgbFace)
        self._agg.draw_path(self._scaled_gc(gc), path, self._scaled(transform), rgbFace)

    def draw_markers(
        self,
        gc: GraphicsContextBase,
        marker_path: Path,
        marker_trans: Any,
        path: Path,
        trans: Any,
        rgbFace: Any = None,  # noqa: N803
    ) -> None:
        self.svg.draw_markers(gc, marker_path, marker_trans, path, trans, rgbFace)
        markers = marker_path, self._scaled(marker_trans)
        self._agg.draw_markers(self._scaled_gc(gc), *markers, path, self._scaled(trans), rgbFace)

    def draw_path_collection(
        self,
        gc: GraphicsContextBase,
        master_transform: Any,
        paths: Any,
        all_transforms: Any,
        offsets: Any,
        offset_trans: Any,
        *style: Any,
        **more: Any,
    ) -> None:
        self.svg.draw_path_collection(
            gc, master_transform, paths, all_transforms, offsets, offset_trans, *style, **more
        )
        places = self._scaled(master_transform), paths, all_transforms, offsets, self._scaled(offset_trans)
        self._agg.draw_path_collection(self._scaled_gc(gc), *places, *style, **more)

    def draw_image(self, gc: GraphicsContextBase, x: float, y: float, im: Any, transform: Any = None) -> None:
        """Draw an image without interpolation, which is upright."""
        self.svg.draw_image(gc, x, y, im, transform)
        height, width = im.shape[:2]
        unit = Affine2D().scale(1 / width, 1 / height)
        (across, _, left), (_, up, bottom), _ = self._scaled(unit + transform + Affine2D().translate(x, y)).get_matrix()
        at_x, columns = _nearest(left, across, width)
        at_y, rows = _nearest(bottom, up, height)
        self._agg.draw_image(self._scaled_gc(gc), at_x, at_y, im[np.ix_(rows, columns)])

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        self.svg.draw_text(gc, x, y, s, prop, angle, ismath, mtext)
        size = prop.get_size_in_points() / TextToPath.FONT_SCALE
        place = Affine2D().scale(size).rotate_deg(angle).translate(x, self.svg.height - y)
        filled = self._scaled_gc(gc)
        filled.set_linewidth(0.0)
        filled.set_snap(False)
        self._agg.draw_path(filled, _outlines(s, prop), self._scaled(place), gc.get_rgb())

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: Any) -> tuple[float, float, float]:
        size: tuple[float, float, float] = self.svg.get_text_width_height_descent(s, prop, ismath)
        return size

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self.svg.width, self.svg.height

    def flipy(self) -> bool:
        return True

    def option_scale_image(self) -> bool:
        return True

    def open_group(self, s: str, gid: str | None = None) -> None:
        self.svg.open_group(s, gid)

    def close_group(self, s: str) -> None:
        self.svg.close_group(s)

    def _scaled(self, transform: Any) -> Affine2D:
        return Affine2D(self._scale.get_matrix() @ transform.get_matrix())

    def _scaled_gc(self, gc: GraphicsContextBase) -> GraphicsContextBase:
        """A copy whose clipping is scaled."""
        scaled = self.new_gc()
        scaled.copy_properties(gc)
        if (box := gc.get_clip_rectangle()) is not None:
            scaled.set_clip_rectangle(Bbox(self._scale.transform(box.get_points())))
        clip: Any = gc.get_clip_path()
        path, transform = clip
        if path is not None:
            scaled.set_clip_path(TransformedPath(path, self._scaled(transform)))
        return scaled


@lru_cache(maxsize=4096)
def _outlines(text: str, font: FontProperties) -> Path:
    """The outlines of a text, of a size of `TextToPath.FONT_SCALE` points, from the left end of its baseline."""
    vertices, codes = TextToPath().get_text_path(font, text)
    return Path(vertices, codes)


def _nearest(start: float, each: float, number: int) -> tuple[int, NDArray[np.intp]]:
    """The first of the dots that a row of pixels covers, and for each dot the pixel that its centre is in.

    Args:
        start, each: where the row starts, and the width of a pixel; negative if it goes down.
    """
    first, last = sorted((round(start), round(start + each * number)))
    pixels = np.floor((np.arange(first, last) + 0.5 - start) / each)
    return first, np.clip(pixels, 0, number - 1).astype(np.intp)
