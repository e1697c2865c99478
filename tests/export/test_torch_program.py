"""Programs of torch.export: torch alone loads them, and they compute the policy's actions."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from rlottery.errors import StudyError
from rlottery.export.torch_program import VARIABLE, computed, content, contents
from tests.export.exported import PAGE, SHAPES, random_policy
from tests.peer_environments import peer_python


def test_programs_compute_the_policies_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = peer_python("sb3")
    monkeypatch.setenv(VARIABLE, str(python))
    shapes = [SHAPES[name] for name in ("sparse", "sparse", "dense", "discrete", "normalised", "constant")]
    policies = [random_policy(widths, density, **fields) for widths, density, fields in shapes]
    seen = [np.random.default_rng(1).normal(0, 3, (20, widths[0])).astype(np.float32) for widths, *_ in shapes]
    seen[1], seen[3] = seen[1][:1], seen[3][:1]  # also one alone
    files = contents(policies)
    assert files[0] == files[1], "the same policy is the same bytes"
    acted, reader = computed(files, policies, seen)
    assert reader.startswith("torch 2.")
    for policy, data, given, found in zip(policies, files, seen, acted, strict=True):
        expected = policy.policy(given)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)
        with zipfile.ZipFile(BytesIO(data)) as archive:
            (told,) = (archive.read(name) for name in archive.namelist() if name.endswith("/rlottery.json"))
            assert policy.source.items() <= json.loads(told).items()
            graph = archive.read(next(name for name in archive.namelist() if name.endswith("model.json")))
        assert b"torch_child" not in graph, "the places of files on this machine are nobody's business"
    (tmp_path / "ticket.pt2").write_bytes(files[2])
    task, actions = page_program(python, tmp_path).split(" ", 1)
    assert task == "Pendulum-v1"
    np.testing.assert_allclose(json.loads(actions), policies[2].policy(np.zeros((5, 3))), rtol=0, atol=1e-5)


def page_program(python: Path, folder: Path) -> str:
    """What the page's example prints of the file ticket.pt2 in a folder, for a task with 3 entries."""
    section = re.split(r"^## ", PAGE.read_text().partition("\n## torch\n")[2], flags=re.M)[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", section, flags=re.M | re.S)
    return subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("python", "said"),
    [
        pytest.param(
            None,
            "No module named 'torch'",
            marks=pytest.mark.skipif(find_spec("torch") is not None, reason="torch is next to rlottery here"),
        ),
        ("/nosuch/python", "/nosuch/python can't be used"),
    ],
)
def test_without_torch_it_says_how_to_get_it(python: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if python:
        monkeypatch.setenv(VARIABLE, python)
    with pytest.raises(StudyError) as error:
        content(random_policy([3, 2], None))
    assert said in str(error.value) and str(python or sys.executable) in str(error.value)
    assert "pip install torch" in str(error.value) and f"{VARIABLE}=/path/to/python" in str(error.value)
    assert not Path("policy.pt2").exists()
