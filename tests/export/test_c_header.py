"""The C header: compilers take it without warnings as C99 and as C++, and its programs act as the policy does."""

import re
import shutil
import subprocess
from pathlib import Path
from string import Template

import numpy as np
import pytest

from rlottery.errors import StudyError
from rlottery.export import c_program
from rlottery.export.c_header import Header, actions, content, header, identifier
from rlottery.export.folded_policy import FoldedPolicy
from tests.export.exported import PAGE, SHAPES, random_policy

STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")
LANGUAGES = {"c99": ("cc", "-std=c99", "-x", "c"), "c++11": ("c++", "-std=c++11", "-x", "c++")}
NAMES = {shape: identifier(shape) for shape in SHAPES}

MAIN = """
#include <stdio.h>
#include <string.h>
HEADERS
static float observation[1000];
int main(int count, char **words)
{
  if (count != 2) return 1;
CALLS
  return 1;
}
"""
CALL = """
  if (!strcmp(words[1], "$name")) {
    $declared
    while (fread(observation, sizeof(float), ${macro}_OBSERVATION_SIZE, stdin) == ${macro}_OBSERVATION_SIZE) {
      $called
      fwrite(&action, sizeof action, 1, stdout);
    }
    return 0;
  }
"""


def policy_of(shape: str) -> FoldedPolicy:
    widths, density, fields = SHAPES[shape]
    return random_policy(widths, density, name=NAMES[shape], **fields)


def compiled(folder: Path, source: str, language: str) -> Path:
    """A program in this folder, which has the headers."""
    compiler, *flags = LANGUAGES[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no compiler called {compiler} here: install one, such as gcc or clang")
    command = [compiler, *STRICT, *flags, "-", "-o", "main", "-lm"]
    done = subprocess.run(command, cwd=folder, input=source, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder / "main"


@pytest.fixture(scope="module", params=LANGUAGES)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One program with the headers of all shapes, which acts as the one that its argument names."""
    folder, calls = tmp_path_factory.mktemp("c"), []
    for shape, name in NAMES.items():
        policy = policy_of(shape)
        (folder / f"{name}.h").write_bytes(content(policy))
        discrete = policy.policy.first_action is not None
        declared = "int64_t action;" if discrete else f"float action[{name.upper()}_ACTION_SIZE];"
        called = f"action = {name}_act(observation);" if discrete else f"{name}_act(observation, action);"
        calls.append(Template(CALL).substitute(name=name, macro=name.upper(), declared=declared, called=called))
    headers = "\n".join(f'#include "{name}.h"' for name in NAMES.values())
    return compiled(folder, MAIN.replace("HEADERS", headers).replace("CALLS", "".join(calls)), request.param)


def run(program: Path, policy: FoldedPolicy, observations: np.ndarray) -> np.ndarray:
    kind = np.float32 if policy.policy.first_action is None else np.int64
    given = observations.astype(np.float32).tobytes()
    said = subprocess.run([program, policy.name], input=given, capture_output=True, check=True).stdout
    return np.frombuffer(said, kind).reshape(policy.policy(observations).shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_acts_as_the_policy_does_without_a_warning(program: Path, shape: str) -> None:
    policy, inputs = policy_of(shape), SHAPES[shape][0][0]
    observations = np.random.default_rng(1).normal(0, 5, (200, inputs)).astype(np.float32)
    np.testing.assert_allclose(run(program, policy, observations), policy.policy(observations), rtol=0, atol=5e-6)


def test_a_sensor_without_a_number_is_not_hidden(program: Path) -> None:
    policy = policy_of("normalised")
    assert np.isnan(run(program, policy, np.full((1, 5), np.nan))).all()


def numbers(text: str, name: str) -> np.ndarray:
    """The constants of an array in a header."""
    found = re.search(rf" \w+_{name}\[(\d+)\] = \{{\n(.*?)\}};", text, flags=re.S)
    assert found is not None
    values = [float(number.rstrip("f")) for number in found[2].replace("\n", "").split(",")[:-1]]
    assert len(values) == int(found[1])
    return np.array(values)


def test_survivors_are_in_rows_and_dense_layers_whole() -> None:
    policy = random_policy([300, 20, 20, 2], 0.05, name="x")
    text, dense = header(policy).text, header(random_policy([300, 20, 20, 2], None, name="x")).text
    (kernel, bias), *_ = policy.policy.layers
    inputs, counts = numbers(text, "inputs_0"), numbers(text, "counts_0")
    matrix = np.zeros_like(kernel)
    matrix[inputs.astype(int), np.repeat(np.arange(len(bias)), counts.astype(int))] = numbers(text, "weights_0")
    np.testing.assert_array_equal(matrix, kernel)
    assert "static const uint16_t x_inputs_0" in text and "static const uint8_t x_counts_0" in text
    assert "inputs" not in dense and "compressed" not in dense


def test_sizes_are_counted_as_the_compiler_lays_them_out(tmp_path: Path) -> None:
    policy = random_policy([17, 40, 30, 3], 0.15, name="counted", normalised=True)
    made: Header = header(policy)
    (tmp_path / "counted.h").write_text(made.text)
    names = re.findall(r"^static const \w+ (\w+)\[", made.text, flags=re.M)
    source = '#include <stdio.h>\n#include "counted.h"\nint main(void) { printf("%d", (int)(SIZES)); return 0; }\n'
    program = compiled(tmp_path, source.replace("SIZES", " + ".join(f"sizeof {name}" for name in names)), "c99")
    constants = int(subprocess.run([program], capture_output=True, check=True).stdout)
    assert made.constants == constants
    weights = [numbers(made.text, f"weights_{index}") for index in range(3)]
    assert made.multiply_adds == sum(map(len, weights))
    assert f"Constants: {constants:,} bytes." in made.text and f"call: {made.multiply_adds:,}." in made.text


def test_texts_of_others_are_only_texts(tmp_path: Path) -> None:
    arm = '*/ ??/ \\ " \n#error x\n // \u00e4 /* %s'
    policy = random_policy([2, 2], None, name="odd", arm=arm)
    (tmp_path / "odd.h").write_bytes(content(policy))
    source = '#include <stdio.h>\n#include "odd.h"\nint main(void) { float o[2] = {0, 0}, a[2]; odd_act(o, a); '
    source += "fputs(ODD_ARM, stdout); return ODD_SEED; }\n"
    for language in LANGUAGES:
        program = compiled(tmp_path, source, language)
        assert subprocess.run([program], capture_output=True, check=True).stdout.decode() == arm


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ticket", "ticket"),
        ("Ant-v5_seed_0_a-0.9", "Ant_v5_seed_0_a_0_9"),
        ("__x", "x"),
        ("90", "policy_90"),
        ("\u00e4", "policy"),
    ],
)
def test_names_begin_with_the_files(file: str, name: str) -> None:
    assert identifier(file) == name


def test_the_program_of_the_page(tmp_path: Path) -> None:
    section = re.split(r"^## ", PAGE.read_text().partition("\n## c\n")[2], flags=re.M)[0]
    source = "".join(re.findall(r"^    (.*\n)|^(?=\n)", section, flags=re.M))
    policy = random_policy([3, 8, 1], 0.5, name="ticket")
    (tmp_path / "ticket.h").write_bytes(content(policy))
    said = subprocess.run([compiled(tmp_path, source, "c99")], capture_output=True, check=True).stdout.decode()
    assert said == f"Pendulum-v1: {policy.policy([1, 0, 0])[0]:.3f}\n"


@pytest.mark.parametrize("tool", ["none", "broken"])
def test_without_a_compiler_it_is_compared_in_numpy(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_program, "COMPILERS", ())
    monkeypatch.delenv("CC", raising=False)
    if tool == "broken":
        (tmp_path / "cc").write_text("#!/bin/sh\necho no licence >&2\nexit 1\n")
        (tmp_path / "cc").chmod(0o755)
        monkeypatch.setenv("CC", f"{tmp_path / 'cc'} -Wall")
    policy, seen = random_policy([3, 8, 1], 0.5), np.ones((2, 3), np.float32)
    found, reader = actions(content(policy), policy, seen)
    np.testing.assert_array_equal(found, policy.policy(seen))
    expected = {"none": "NumPy, because there is no C compiler here", "broken": "compiles nothing: no licence"}
    assert reader.endswith(expected[tool])


def test_a_header_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    if c_program.compiler() is None:
        pytest.skip("There is no C compiler.")
    policy = random_policy([3, 8, 1], 0.5)
    with pytest.raises(StudyError, match="can't compile the header, so it was not written: .*error"):
        actions(content(policy).replace(b"return", b"retrun") + b"int 0;", policy, np.ones((2, 3), np.float32))
