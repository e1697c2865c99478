"""Exported policies as one C header: C99 or C++, no allocation, and nothing of the library but math.h's tanhf."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlottery.agents.normalization import LARGEST, LEAST_VARIANCE
from rlottery.export.c_program import run_header
from rlottery.export.folded_policy import ConnectedLayer, FoldedPolicy
from rlottery.export.formats import Computed
from rlottery.export.npz import smallest

_PER_LINE = 10
_LONGEST_TEXT = 1_000
"""Bytes of a text, each of which may take four characters. A string of C99 has at most 4,095."""
_UNITS = ("units_a", "units_b")
"""The buffers of hidden layers, in turn."""


class Header(NamedTuple):
    """A header, and what it takes.

    Attributes:
        constants: bytes of its arrays.
        stack: bytes of its buffers.
        multiply_adds: of weights, per call.
    """

    text: str
    constants: int
    stack: int
    multiply_adds: int


def content(policy: FoldedPolicy) -> bytes:
    """The header. Its names begin with that of the file (`identifier`)."""
    return header(policy).text.encode("ascii")


def actions(data: bytes, policy: FoldedPolicy, observations: NDArray[np.float32]) -> Computed:
    """By a program that the machine's compiler makes of the header. Without a compiler, by the same layers in NumPy."""
    acts = policy.policy
    size = acts.action_size if acts.first_action is None else None
    found, reader = run_header(data, identifier(policy.name), observations, size)
    return Computed(acts(observations) if found is None else found, reader)


def identifier(name: str) -> str:
    """What the names in a header begin with: ``magnitude-0.95`` -> ``magnitude_0_95``."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    return plain if plain[:1].isalpha() else f"policy_{plain}".rstrip("_")


def header(policy: FoldedPolicy) -> Header:
    """A policy as a header."""
    acts, name = policy.policy, identifier(policy.name)
    first, *others = policy.connected
    seen, first = _normalised(policy, first, name)
    layers = [_Layer.of(layer, f"{name}_%s_{index}") for index, layer in enumerate((first, *others))]
    hidden = [max((layer.outputs for layer in layers[start:-1:2]), default=0) for start in (0, 1)]
    decided = _scaled(policy, name) if acts.first_action is None else _chosen(acts.first_action)
    code = [*seen.code, *(f"  float {unit}[{size}];" for unit, size in zip(_UNITS, hidden, strict=True) if size)]
    source = seen.name
    unit = "tanhf(sum)" if acts.activation == "tanh" else "sum < 0.0f ? 0.0f : sum"
    for index, layer in enumerate(layers[:-1]):
        code += layer.code(source, f"{_UNITS[index % 2]}[i] = {unit};")
        source = _UNITS[index % 2]
    code += [*decided.before, *layers[-1].code(source, decided.each), *decided.after]
    if not layers[0].weights.size:
        code = ["  (void)observation; /* No weight reads it. */", *code]
    arrays = [*seen.arrays, *(array for layer in layers for array in layer.arrays()), *decided.arrays]
    sizes = Header("", sum(array.bytes for array in arrays), 4 * (seen.size + sum(hidden)), _total(layers))
    return sizes._replace(text="\n".join(_lines(policy, name, layers, arrays, code, sizes)))


@dataclass(frozen=True)
class _Array:
    """A constant array of numbers."""

    kind: str
    name: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        return self.values.nbytes

    def lines(self) -> Iterator[str]:
        ending = "f" if self.kind == "float" else ""
        yield f"static const {self.kind} {self.name}[{self.values.size}] = {{"
        for start in range(0, self.values.size, _PER_LINE):
            yield "  " + " ".join(f"{number!s}{ending}," for number in self.values[start : start + _PER_LINE])
        yield "};"


def _integers(name: str, values: np.ndarray) -> _Array:
    """An array of nonnegative integers in the smallest type."""
    held = smallest(values)
    return _Array(f"{held.dtype}_t", name, held)


class _Layer(NamedTuple):
    """A layer as the header has it: all weights of each output unit, or those that aren't zero and their inputs.

    Attributes:
        names: of its arrays, with %s for what they hold.
        weights: by output unit, float32 or int8.
        rows: inputs of the weights, and their number for each unit; None if all inputs have one.
        scales: of each unit's weights if they are integers.
    """

    names: str
    inputs: int
    outputs: int
    bias: np.ndarray
    weights: np.ndarray
    rows: tuple[np.ndarray, np.ndarray] | None
    scales: np.ndarray | None

    @classmethod
    def of(cls, layer: ConnectedLayer, names: str) -> "_Layer":
        kernel = layer.kernel if layer.integers is None else layer.integers
        sizes: tuple[int, int] = kernel.shape
        units, inputs = np.nonzero(kernel.T)
        counts = np.bincount(units, minlength=sizes[1])
        dense = cls(names, *sizes, layer.bias, kernel.T.ravel(), None, layer.scales)
        sparse = dense._replace(weights=kernel.T[kernel.T != 0], rows=(smallest(inputs), smallest(counts)))
        return min(sparse, dense, key=lambda one: sum(array.bytes for array in one.arrays()))

    def arrays(self) -> list[_Array]:
        found = [_Array("float", self.names % "bias", self.bias)]
        if self.weights.size:
            kind = "float" if self.scales is None else "int8_t"
            found.append(_Array(kind, self.names % "weights", self.weights))
            if self.scales is not None:
                found.append(_Array("float", self.names % "scales", self.scales))
            if self.rows is not None:
                inputs, counts = self.rows
                found += [_integers(self.names % "inputs", inputs), _integers(self.names % "counts", counts)]
        return found

    def code(self, source: str, each: str) -> list[str]:
        """Loops over the units. `each` is what is done with each unit's sum."""
        index = "uint_fast16_t" if max(self.weights.size, self.outputs) < 2**16 else "uint_fast32_t"
        bias = f"{self.names % 'bias'}[i]"
        if not self.weights.size:
            return [
                f"  for ({index} i = 0; i < {self.outputs}; ++i) {{",
                f"    const float sum = {bias};",
                f"    {each}",
                "  }",
            ]
        weight, loop, read = f"{self.names % 'weights'}[k]", f"{index} n = 0; n < {self.inputs}; ++n, ++k", "n"
        if self.rows is not None:
            loop = f"{index} n = {self.names % 'counts'}[i]; n > 0; --n, ++k"
            read = f"{self.names % 'inputs'}[k]"
        scaled = self.scales is not None
        return [
            f"  for ({index} i = 0, k = 0; i < {self.outputs}; ++i) {{",
            f"    float sum = {'0.0f' if scaled else bias};",
            f"    for ({loop})",
            f"      sum += {'(float)' if scaled else ''}{weight} * {source}[{read}];",
            *([f"    sum = {bias} + {self.names % 'scales'}[i] * sum;"] if scaled else []),
            f"    {each}",
            "  }",
        ]


def _total(layers: list[_Layer]) -> int:
    return sum(layer.weights.size for layer in layers)


class _Seen(NamedTuple):
    """What the first layer reads, and how it comes about: `size` entries of a buffer, or the observation itself."""

    name: str = "observation"
    size: int = 0
    code: tuple[str, ...] = ()
    arrays: tuple[_Array, ...] = ()


def _normalised(policy: FoldedPolicy, first: ConnectedLayer, name: str) -> tuple[_Seen, ConnectedLayer]:
    """The entries that the first layer reads, if they are normalised, and the layer of these entries."""
    statistics, read = policy.policy.statistics, np.flatnonzero(first.kernel.any(axis=1))
    if statistics is None or not read.size:
        return _Seen(), first
    mean, variance = (of[read] for of in statistics)
    scale = 1 / np.sqrt(variance + np.float32(LEAST_VARIANCE))
    arrays = [_Array("float", f"{name}_mean", mean), _Array("float", f"{name}_scale", scale)]
    entry = "i"
    if len(read) < policy.policy.observation_size:
        arrays.append(_integers(f"{name}_read", read))
        entry = f"{name}_read[i]"
    code = (
        f"  float seen[{len(read)}];",
        f"  for (uint_fast16_t i = 0; i < {len(read)}; ++i) {{",
        f"    const float value = (observation[{entry}] - {name}_mean[i]) * {name}_scale[i];",
        f"    seen[i] = value < -{LARGEST}f ? -{LARGEST}f : value > {LARGEST}f ? {LARGEST}f : value;",
        "  }",
    )
    integers = None if first.integers is None else first.integers[read]
    return _Seen("seen", len(read), code, tuple(arrays)), first._replace(kernel=first.kernel[read], integers=integers)


class _Decided(NamedTuple):
    """How actions follow from outputs: the code before the last layer, for each output, and after the layer."""

    each: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    arrays: tuple[_Array, ...] = ()


def _scaled(policy: FoldedPolicy, name: str) -> _Decided:
    acts = policy.policy
    unit = "tanhf(action[i])"
    if acts.squash == "clip":
        unit = "action[i] < -1.0f ? -1.0f : action[i] > 1.0f ? 1.0f : action[i]"
    code = (
        f"  for (uint_fast16_t i = 0; i < {acts.action_size}; ++i) {{",
        f"    const float low = {name}_low[i], high = {name}_high[i], unit = {unit};",
        "    const float scaled = low + (unit + 1.0f) * 0.5f * (high - low);",
        "    action[i] = scaled < low ? low : scaled > high ? high : scaled;",
        "  }",
    )
    bounds = (("low", acts.action_low), ("high", acts.action_high))
    arrays = tuple(_Array("float", f"{name}_{end}", values) for end, values in bounds)
    return _Decided("action[i] = sum;", after=code, arrays=arrays)


def _chosen(first_action: int) -> _Decided:
    before = ("  float largest = 0.0f;", "  int64_t best = 0;")
    each = "if (i == 0 || sum > largest) { largest = sum; best = (int64_t)i; }"
    sign = "-" if first_action < 0 else "+"
    return _Decided(each, before, (f"  return best {sign} INT64_C({abs(first_action)});",))


def _lines(
    policy: FoldedPolicy, name: str, layers: list[_Layer], arrays: list[_Array], code: list[str], sizes: Header
) -> Iterator[str]:
    acts, macro, unread = policy.policy, name.upper(), len(policy.unread)
    seen = f"{acts.observation_size} observation entries" + (f" ({unread} of them are not read)" if unread else "")
    sparse = ", ".join("compressed rows" if layer.rows else "dense" for layer in layers if layer.weights.size)
    widths = "-".join(map(str, (acts.observation_size, *(layer.outputs for layer in layers))))
    yield f"/* {_text(acts.arm)} of {_text(acts.task)}, seed {_text(acts.seed)}: a policy."
    yield " *"
    yield f" *     float observation[{macro}_OBSERVATION_SIZE];"
    if acts.first_action is None:
        yield f" *     float action[{macro}_ACTION_SIZE];"
        yield f" *     {name}_act(observation, action);"
    else:
        yield f" *     int64_t action = {name}_act(observation);"
    yield " *"
    yield f" * {seen}, {acts.action_size} {'action entries' if acts.first_action is None else 'actions'}."
    yield f" * Layers: {widths} ({sparse or 'no weights'})."
    yield f" * Constants: {sizes.constants:,} bytes. Buffers on the stack: {sizes.stack:,} bytes."
    yield f" * Multiply-adds of a call: {sizes.multiply_adds:,}."
    yield " *"
    yield " * C99 or C++. Single precision, no allocation, no state. Link with the library of math.h (-lm)."
    yield " */"
    yield f"#ifndef {macro}_H"
    yield f"#define {macro}_H"
    yield ""
    yield "#include <math.h>"
    yield "#include <stdint.h>"
    yield ""
    yield f"#define {macro}_OBSERVATION_SIZE {acts.observation_size}"
    yield f"#define {macro}_ACTION_SIZE {acts.action_size}"
    yield "/* Where it comes from. */"
    for key, value in policy.source.items():
        shown = str(value) if type(value) in (int, float) else f'"{_text(value)}"'
        yield f"#define {macro}_{key.upper()} {shown}"
    yield ""
    for array in arrays:
        yield from array.lines()
    yield ""
    if acts.first_action is None:
        vectors = f"const float observation[{acts.observation_size}], float action[{acts.action_size}]"
        yield f"static inline void {name}_act({vectors})"
    else:
        yield f"static inline int64_t {name}_act(const float observation[{acts.observation_size}])"
    yield "{"
    yield from code
    yield "}"
    yield ""
    yield "#endif"
    yield ""


def _text(value: object) -> str:
    """What may stand in a string and in a comment of C, whatever it was: other characters as octal escapes."""
    data = str(value).encode("utf-8", "backslashreplace")[:_LONGEST_TEXT]
    plain = rb"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ _.:+=/@,()-"
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in data)
