"""The ONNX model: another evaluator than onnxruntime computes the same, and it declares what the page says."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from rlottery.errors import StudyError
from rlottery.export import export
from rlottery.export.onnx_model import content
from tests.export.exported import SHAPES, never_read, random_policy


@pytest.mark.parametrize("shape", SHAPES)
def test_onnxs_own_evaluator_computes_the_policys_actions(shape: str) -> None:
    widths, density, fields = SHAPES[shape]
    policy = random_policy(widths, density, **fields)
    seen = np.random.default_rng(2).normal(0, 3, (20, widths[0])).astype(np.float32)
    (found,) = ReferenceEvaluator(onnx.load_from_string(content(policy))).run(None, {"observations": seen})
    assert found.dtype == policy.policy(seen).dtype
    np.testing.assert_allclose(found, policy.policy(seen), rtol=0, atol=5e-6)


@pytest.mark.parametrize(
    ("fields", "shape", "kind"), [({}, ["batch", 2], "float"), ({"first_action": 3}, ["batch"], "int64")]
)
def test_what_it_declares(fields: dict[str, int], shape: list[str | int], kind: str) -> None:
    policy = random_policy([5, 4, 2], 0.5, **fields)
    data = content(policy)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("observations", ["batch", 5], "tensor(float)")
    assert (taken.name, taken.shape, taken.type) == ("actions", shape, f"tensor({kind})")
    for batch in (0, 1, 7):
        (found,) = session.run(None, {"observations": np.ones((batch, 5), np.float32)})
        assert found.shape[0] == batch
    model = onnx.load_from_string(data)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 13)] and model.ir_version == 7
    told = session.get_modelmeta().custom_metadata_map
    assert told["task"] == "Pendulum-v1" and told["agent_sha256"] == policy.policy.agent_sha256
    assert json.loads(told["sparsity"]) == 0.5 and json.loads(told["unread_observations"]) == list(policy.unread)


def test_without_the_extra_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "rlottery.export.onnx_model")
    monkeypatch.setattr(export, "read_finished", lambda folder: None)
    monkeypatch.setattr(export, "read_folded", never_read)
    with pytest.raises(
        StudyError, match="--format onnx needs packages .* Install the extra: pip install 'rlottery.onnx.'"
    ):
        export.export_policy(Path("run"), Path("policy.onnx"))
