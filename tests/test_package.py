"""What the package says of itself in several places is the same everywhere."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from rlottery.agents.kernels.build import OLDEST_JAXLIB
from rlottery.version import __version__
from tools.check_distributions import faults

ROOT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PYTHONS = [f"3.{minor}" for minor in range(30) if f"3.{minor}.1" in SpecifierSet(PROJECT["requires-python"])]


def test_the_newest_heading_of_the_changelog_is_this_version() -> None:
    heading = re.search(r"^## (\S+), (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert heading is not None and heading[1] == __version__
    assert CITATION["version"] == __version__
    assert str(CITATION.get("date-released", "unreleased")) == heading[2]


def test_the_license_is_one() -> None:
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_every_python_is_listed_tested_and_gets_a_wheel() -> None:
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    built = [re.sub(r"cp3(\d+)-\*", r"3.\1", one) for one in SETTINGS["tool"]["cibuildwheel"]["build"]]
    tested = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]["strategy"]["matrix"]
    assert len(PYTHONS) >= 3
    assert listed == built == tested["python"] == PYTHONS


def test_wheels_are_built_with_the_headers_of_the_oldest_jaxlib() -> None:
    assert f"jaxlib=={OLDEST_JAXLIB}" in SETTINGS["build-system"]["requires"]


def test_links_of_the_readme_lead_to_the_tag_of_the_version(tmp_path: Path) -> None:
    """The hook is called as hatchling calls it, with a stand-in for its base class."""
    base = tmp_path / "hatchling/metadata/plugin/interface.py"
    base.parent.mkdir(parents=True)
    base.write_text("class MetadataHookInterface: pass\n")
    script = (
        "import hatch_metadata; hook = hatch_metadata.AddressesHook(); hook.root = '.'; about = {'version': '1.2'}; "
        "hook.update(about); print(about['urls']); print(about['readme']['text'])"
    )

    def made(repository: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"RLOTTERY_REPOSITORY": repository, "PYTHONPATH": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True)

    plain, absolute = made("").stdout, made("https://example.org/jane/rlottery/").stdout
    assert plain.startswith("{}\n") and plain.endswith((ROOT / "README.md").read_text() + "\n")
    paths = [one for one in re.findall(r"\]\(([^)\s]+)\)", plain) if not re.match(r"https://|#", one)]
    targets = re.findall(r"\]\((https://example\.org/jane/rlottery/(?:raw|blob)/v1\.2/[^)\s]+)\)", absolute)
    assert [re.sub(r".*/v1\.2/", "", one) for one in targets] == paths and len(paths) > 20
    assert {Path(one).suffix for one in targets if "/raw/" in one} == {".png", ".gif"}
    assert "https://example.org/jane/rlottery/blob/v1.2/CHANGELOG.md" in absolute.splitlines()[0]
    refused = made("git@example.org:jane/rlottery.git")
    assert refused.returncode == 1 and "give an address such as https://" in refused.stderr


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    found = list(faults(tmp_path, release=True))
    assert len(found) == 5 + ("unreleased" in (ROOT / "CHANGELOG.md").read_text())


@pytest.mark.parametrize("command", [[sys.executable, "-P", "-m", "rlottery"], ["rlottery"]])
def test_both_commands_say_the_version(command: list[str]) -> None:
    program = [str(Path(sys.executable).parent / command[0]), *command[1:]]
    assert subprocess.run([*program, "--version"], capture_output=True, text=True).stdout == f"{__version__}\n"
