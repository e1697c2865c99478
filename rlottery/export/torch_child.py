"""Writes policies as programs of torch.export, and runs them, in a Python that has torch but need not have rlottery.

`rlottery.export.torch_program` starts it. Arguments: ``write`` or ``act``, and folders with the files named below.
"""

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import torch

EXAMPLES = 2
"""Observations that a program is traced with. It takes any number."""


class Policy(torch.nn.Module):  # type: ignore[misc]
    """A policy, with the arrays of `torch_program._arrays`."""

    def __init__(self, about: Any, arrays: Any) -> None:
        super().__init__()
        self.first_action, self.clips, self.most = about["first_action"], about["squash"] == "clip", about["most"]
        self.normalises, self.activated = (
            "mean" in arrays,
            {"relu": torch.relu, "tanh": torch.tanh}[about["activation"]],
        )
        self.layers = torch.nn.ModuleList()
        for index in range(about["layers"]):
            kernel, bias = arrays.pop(f"layer_{index}.kernel"), arrays.pop(f"layer_{index}.bias")
            layer = torch.nn.Linear(*kernel.shape)
            layer.weight, layer.bias = torch.nn.Parameter(kernel.T.contiguous()), torch.nn.Parameter(bias)
            self.layers.append(layer)
        for name, array in arrays.items():
            self.register_buffer(name, array)
        self.requires_grad_(False)

    def forward(self, observations: Any) -> Any:
        hidden = observations
        if self.normalises:
            hidden = ((hidden - self.mean) / self.deviation).clamp(-self.most, self.most)
        for index, layer in enumerate(self.layers):
            hidden = layer(self.activated(hidden) if index else hidden)
        if self.first_action is not None:
            return self.first_action + hidden.argmax(dim=-1)
        unit = hidden.clamp(-1.0, 1.0) if self.clips else torch.tanh(hidden)
        scaled = self.low + (unit + 1.0) * 0.5 * (self.high - self.low)
        return torch.minimum(torch.maximum(scaled, self.low), self.high)


def floats(file: BinaryIO, shape: list[int]) -> Any:
    """The next numbers of a file, float32."""
    return torch.frombuffer(bytearray(file.read(4 * math.prod(shape))), dtype=torch.float32).reshape(shape)


def write(place: Path) -> None:
    """From about.json and arrays.bin to policy.pt2."""
    about = json.loads((place / "about.json").read_text())
    with (place / "arrays.bin").open("rb") as file:
        arrays = {name: floats(file, shape) for name, shape in about["arrays"]}
    example = torch.zeros(EXAMPLES, arrays["layer_0.kernel"].shape[0])
    sizes = {"observations": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(Policy(about, arrays).eval(), (example,), dynamic_shapes=sizes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it has the path of this file
    torch.export.save(program, place / "policy.pt2", extra_files={"rlottery.json": about["told"]})


def act(place: Path) -> None:
    """From policy.pt2, observations.bin and the number of their rows to actions.bin."""
    program = torch.export.load(place / "policy.pt2").module()
    with (place / "observations.bin").open("rb") as file:
        data = bytearray(file.read())
    rows = int((place / "rows").read_text())
    actions = program(torch.frombuffer(data, dtype=torch.float32).reshape(rows, -1))
    (place / "actions.bin").write_bytes(bytes(actions.contiguous().untyped_storage()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for folder in sys.argv[2:]:
        {"write": write, "act": act}[sys.argv[1]](Path(folder))
    print(torch.__version__)
