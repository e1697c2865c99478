"""Every format of exported policies: its file computes the run's actions, records the run, and bad input is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from rlottery.errors import StudyError
from rlottery.export import export, formats
from rlottery.export.export import export_policy
from rlottery.export.formats import FORMATS, format_of, writer_of
from tests.export.exported import PAGE, SHAPES, never_read, random_policy

EACH = pytest.mark.parametrize("name", FORMATS)
QUICK = pytest.mark.parametrize("name", [name for name in FORMATS if name != "torch"])
"""test_torch_program.py has the same tests for torch, which takes seconds to start."""


def observations(size: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, (50, size)).astype(np.float32)


@QUICK
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_computes_the_policys_actions(name: str, shape: str) -> None:
    widths, density, fields = SHAPES[shape]
    policy, seen = random_policy(widths, density, **fields), observations(widths[0])
    writer = writer_of(name)
    found, expected = writer.actions(writer.content(policy), policy, seen).actions, policy.policy(seen)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@QUICK
def test_the_same_policy_is_the_same_bytes_and_says_what_it_is_of(name: str) -> None:
    data = {writer_of(name).content(random_policy([9, 8, 2], 0.4)) for _ in range(2)}
    assert len(data) == 1
    (content,) = data
    for told in ("Pendulum-v1", "ticket", "0.6", "0" * 64):
        assert told.encode() in content


@QUICK
def test_texts_of_others_do_no_harm(name: str) -> None:
    policy = random_policy([3, 2], None, arm="\ud800 \x00 */ \u202e", task='"')
    data, seen = writer_of(name).content(policy), np.ones((1, 3), np.float32)
    np.testing.assert_allclose(writer_of(name).actions(data, policy, seen).actions, policy.policy(seen), atol=1e-5)


@EACH
def test_the_page_has_a_section_for_it(name: str) -> None:
    assert f"\n## {name}\n" in PAGE.read_text()
    overview = PAGE.with_name("export.md").read_text()
    row = re.search(rf"^\| \[`{name}`\]\({PAGE.name}#{name}\).*$", overview, flags=re.M)
    assert row and f"`{FORMATS[name].endings[0]}`" in row[0]


@pytest.mark.parametrize(
    ("asked", "to", "expected"),
    [
        (None, None, "npz"),
        (None, "new/policy", "npz"),
        (None, "magnitude-0.95", "npz"),
        (None, "a.SafeTensors", "safetensors"),
        ("safetensors", None, "safetensors"),
        ("safetensors", "weights.bin", "safetensors"),
    ],
)
def test_the_format_is_the_endings_unless_it_is_given(asked: str | None, to: str | None, expected: str) -> None:
    assert format_of(asked, to and Path(to)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "to", "said"),
    [
        ("onx", None, "--format onx: unknown; did you mean 'onnx'? Choose from: npz, "),
        (None, "a.tflite", "a.tflite: no format has the ending .tflite. Choose one with --format: npz (.npz), "),
        ("npz", "a.safetensors", "has the ending of the format safetensors, not of npz. Give a name that ends in .npz"),
    ],
)
def test_what_is_no_format_is_refused(asked: str | None, to: str | None, said: str) -> None:
    with pytest.raises(StudyError) as error:
        export_policy(Path("nosuch"), to and Path(to), asked)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats.FORMATS, "odd", formats.Format((".odd",), "nosuch_module", "nothing", extra="odd"))
    with pytest.raises(StudyError, match="^nosuch is not a folder"):  # the command's own fault comes first
        export_policy(Path("nosuch"), Path("policy.odd"))
    monkeypatch.setattr(export, "read_finished", lambda folder: None)
    monkeypatch.setattr(export, "read_folded", never_read)
    with pytest.raises(
        StudyError, match="--format odd needs .* No module named 'nosuch_module'. Install the extra: pip"
    ):
        export_policy(Path("run"), Path("policy.odd"))
