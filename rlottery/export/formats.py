"""The formats of exported policies: the table from which the command, its messages and the docs take their names."""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from rlottery.errors import StudyError, install_extra, unknown_choice

if TYPE_CHECKING:
    import numpy as np

    from rlottery.export.folded_policy import FoldedPolicy


class Format(NamedTuple):
    """A format.

    Attributes:
        endings: of its files' names. The first one is that of a file without a given name.
        module: the module that writes it (`Writer`). It is imported where it is needed.
        holds: what a file is, for people.
        int8: whether its weights can be 8-bit integers.
        extra: the extra of rlottery that the module's imports need; "" if none.
    """

    endings: tuple[str, ...]
    module: str
    holds: str
    int8: bool = False
    extra: str = ""


FORMATS = {
    "npz": Format((".npz",), "rlottery.export.npz", "arrays for NumPy"),
    "safetensors": Format((".safetensors",), "rlottery.export.safetensors_file", "arrays for torch, JAX and NumPy"),
    "onnx": Format((".onnx",), "rlottery.export.onnx_model", "a model for ONNX runtimes", int8=True, extra="onnx"),
    "torch": Format((".pt2",), "rlottery.export.torch_program", "a program for torch alone"),
    "c": Format((".h", ".hpp", ".hh"), "rlottery.export.c_header", "a header for C and C++", int8=True),
}
DEFAULT = "npz"
DATASET = "minari"
"""What `--format` takes besides: no file of a policy, but a dataset of the run's replay (`rlottery.interop.minari`)."""


class Caller(NamedTuple):
    """Who exports, as results and messages say it.

    Attributes:
        source: what is exported.
        format, to: how the format and the file are given.
        besides: what `format` takes besides the formats.
    """

    source: str
    format: str
    to: str
    besides: tuple[str, ...] = ()


COMMAND = Caller("run", "--format", "--to FILE", (DATASET,))
"""`rlottery export`."""
FUNCTION = Caller("policy", "`format`", "`to`")
"""`rlottery.save_policy`."""


class Computed(NamedTuple):
    """The actions that a file's own reader computes of observations, and the reader's name.

    Attributes:
        actions: in the task's bounds, (batch, act) float32; discrete ones are the task's integers, (batch,).
    """

    actions: "np.ndarray"
    reader: str


class Writer(Protocol):
    """What the module of a format has."""

    def content(self, policy: "FoldedPolicy") -> bytes:
        """The file. The same policy gives the same bytes."""

    def actions(self, data: bytes, policy: "FoldedPolicy", observations: "np.ndarray") -> Computed:
        """What `data`, the content of `policy`, computes of observations (batch, obs), float32."""


def writer_of(name: str, caller: Caller = COMMAND) -> Writer:
    """The module of a format.

    Raises:
        StudyError: its extra isn't installed.
    """
    about = FORMATS[name]
    try:
        return cast(Writer, importlib.import_module(about.module))
    except ImportError as error:
        if not about.extra:
            raise
        raise StudyError(
            f"{caller.format} {name} needs packages that can't be imported: {error}. Install the extra: "
            f"{install_extra(about.extra)}"
        ) from None


def format_of(asked: str | None, to: Path | None, *, int8: bool = False, caller: Caller = COMMAND) -> str:
    """The name of the format to write: the one that is asked for, or that of the file's ending, or `DEFAULT`.

    Raises:
        StudyError: there is no such format, the file's ending is that of another one, or it has no `int8` weights.
    """
    ending = "" if to is None else to.suffix.lower()
    by_ending = next((name for name, about in FORMATS.items() if ending in about.endings), None)
    if asked is not None and asked not in FORMATS:
        raise StudyError(unknown_choice(caller.format, asked, (*FORMATS, *caller.besides)))
    # What follows a dot in magnitude-0.95 is no ending.
    if asked is None and by_ending is None and re.fullmatch(r"\.[a-z]\w*", ending):
        raise StudyError(
            f"{to}: no format has the ending {ending}. Choose one with {caller.format}: {_with_endings()}."
        )
    if asked is not None and by_ending not in (None, asked):
        raise StudyError(
            f"{to} has the ending of the format {by_ending}, not of {asked}. Give a name that ends in "
            f"{FORMATS[asked].endings[0]}, or leave out {caller.format}."
        )
    name = asked or by_ending or DEFAULT
    if int8 and not FORMATS[name].int8:
        raise StudyError(f"--int8 is not for the format {name}. Choose one with {caller.format}: {int8_names()}.")
    return name


def int8_names() -> str:
    """The formats that have int8 weights: "onnx, c"."""
    return ", ".join(name for name, about in FORMATS.items() if about.int8)


def format_help() -> str:
    """What the formats hold: "npz (arrays for NumPy), ..."."""
    return ", ".join(f"{name} ({about.holds})" for name, about in FORMATS.items())


def _with_endings() -> str:
    return ", ".join(f"{name} ({about.endings[0]})" for name, about in FORMATS.items())
