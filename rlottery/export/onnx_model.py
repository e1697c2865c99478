"""Exported policies as ONNX: ``observations`` (batch, obs), float32, to ``actions`` in the task's own terms."""

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rlottery.activations import Activation
from rlottery.agents.normalization import LARGEST, LEAST_VARIANCE
from rlottery.export.folded_policy import ConnectedLayer, FoldedPolicy
from rlottery.export.formats import Computed
from rlottery.export.policy import Policy
from rlottery.version import __version__

OPSET, IR_VERSION = 13, 7
"""Of December 2020: runtimes of the years since read it."""
_OPERATORS: dict[Activation, str] = {"relu": "Relu", "tanh": "Tanh"}


def content(policy: FoldedPolicy) -> bytes:
    """The model. Its metadata are `FoldedPolicy.about`, with all values but texts as JSON."""
    acts, chain = policy.policy, _Chain("observations")
    shape: tuple[str | int, ...]
    if acts.statistics is not None:
        _normalise(chain, *acts.statistics)
    for index, layer in enumerate(policy.connected):
        if index:
            chain.add(_OPERATORS[acts.activation])
        _multiply(chain, layer, index)
    if acts.first_action is None:
        _scale(chain, acts)
        kind, shape = TensorProto.FLOAT, ("batch", acts.action_size)
    else:
        chain.add("ArgMax", axis=1, keepdims=0)
        chain.add("Add", chain.array("first_action", np.array(acts.first_action, np.int64)))
        kind, shape = TensorProto.INT64, ("batch",)
    chain.nodes[-1].output[0] = "actions"
    given = helper.make_tensor_value_info("observations", TensorProto.FLOAT, ["batch", acts.observation_size])
    taken = helper.make_tensor_value_info("actions", kind, shape)
    model = helper.make_model(
        helper.make_graph(chain.nodes, "policy", [given], [taken], chain.arrays),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rlottery",
        producer_version=__version__,
    )
    helper.set_model_props(model, {name: _text(value) for name, value in policy.about.items()})
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def actions(data: bytes, policy: FoldedPolicy, observations: NDArray[np.float32]) -> Computed:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(["actions"], {"observations": observations})
    return Computed(found, f"onnxruntime {onnxruntime.__version__}")


def _text(value: Any) -> str:
    """A value as metadata, which must be valid Unicode."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else json.dumps(value)


class _Chain:
    """Nodes of which each reads what the one before it computes, and the arrays that they read besides."""

    def __init__(self, start: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: list[onnx.TensorProto] = []
        self._last = start

    def array(self, name: str, values: Any) -> str:
        """An array of the model. Returns its name."""
        self.arrays.append(numpy_helper.from_array(np.ascontiguousarray(values).reshape(np.shape(values)), name))
        return name

    def add(self, operator: str, *others: str, **attributes: Any) -> None:
        """A node that reads the last one's output and other arrays."""
        made = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self._last, *others], [made], **attributes))
        self._last = made

    def constant(self, operator: str, inputs: list[str], made: str, **attributes: Any) -> str:
        """A node that reads only arrays. Returns the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [made], **attributes))
        return made


def _normalise(chain: _Chain, mean: NDArray[np.float32], variance: NDArray[np.float32]) -> None:
    chain.add("Sub", chain.array("observations.mean", mean))
    chain.add("Div", chain.array("observations.deviation", np.sqrt(variance + np.float32(LEAST_VARIANCE))))
    ends = (("least", -LARGEST), ("largest", LARGEST))
    chain.add("Clip", *(chain.array(f"observations.{name}", np.float32(end)) for name, end in ends))


def _multiply(chain: _Chain, layer: ConnectedLayer, index: int) -> None:
    name = f"layer_{index}"
    bias = chain.array(f"{name}.bias", layer.bias)
    if layer.integers is None or layer.scales is None:
        kernel = chain.array(f"{name}.kernel", layer.kernel)
    else:
        # Not by DequantizeLinear: onnxruntime would make a product of it that also rounds the observations.
        integers, scales = chain.array(f"{name}.integers", layer.integers), chain.array(f"{name}.scales", layer.scales)
        floats = chain.constant("Cast", [integers], f"{name}.floats", to=TensorProto.FLOAT)
        kernel = chain.constant("Mul", [floats, scales], f"{name}.kernel")
    chain.add("Gemm", kernel, bias)


def _scale(chain: _Chain, acts: Policy) -> None:
    """From outputs to actions within the bounds, as `Policy` computes them."""
    low, high = acts.action_low, acts.action_high
    if acts.squash == "tanh":
        chain.add("Tanh")
    else:
        chain.add("Clip", chain.array("actions.least", np.float32(-1)), chain.array("actions.largest", np.float32(1)))
    chain.add("Add", chain.array("actions.one", np.float32(1)))
    chain.add("Mul", chain.array("actions.half_width", np.float32(0.5) * (high - low)))
    chain.add("Add", chain.array("actions.low", low))
    chain.add("Max", "actions.low")
    chain.add("Min", chain.array("actions.high", high))
