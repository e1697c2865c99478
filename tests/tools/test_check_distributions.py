"""A sound source archive and wheel pass; each fault that is planted in one of them is named."""

import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from rlottery.version import __version__
from tools.check_distributions import IN_EVERY_WHEEL, KERNELS, OF_THE_BUILD, ROOT, faults

ABOUT = f"Metadata-Version: 2.4\nName: rlottery\nVersion: {__version__}\n\nSee [the docs](docs/kernels.md).\n"
INFO = f"rlottery-{__version__}.dist-info"
INCLUDED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]


def made(
    folder: Path,
    *,
    about: str = ABOUT,
    tag: str = "py3-none-linux_x86_64",
    dropped: str = "",
    added: str = KERNELS,
    packed: Mapping[str, str] | None = None,
) -> list[str]:
    """The faults of two files that are sound but for the given differences."""
    source = dict.fromkeys((*OF_THE_BUILD, *INCLUDED["only-include"]), "") | {"PKG-INFO": about} | dict(packed or {})
    with tarfile.open(folder / f"rlottery-{__version__}.tar.gz", "w:gz") as archive:
        for name, text in source.items():
            entry = tarfile.TarInfo(f"rlottery-{__version__}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    installed = {*IN_EVERY_WHEEL, added, f"{INFO}/METADATA", f"{INFO}/licenses/LICENSE"} - {dropped, ""}
    with zipfile.ZipFile(folder / f"rlottery-{__version__}-{tag}.whl", "w") as wheel:
        for name in installed:
            wheel.writestr(name, about if name.endswith("METADATA") else "")
    return list(faults(folder, release=False))


def test_sound_files(tmp_path: Path) -> None:
    assert made(tmp_path) == []


def test_a_wheel_without_kernels(tmp_path: Path) -> None:
    assert made(tmp_path, tag="py3-none-any", added="") == []


@pytest.mark.parametrize(
    ("difference", "fault"),
    [
        ({"dropped": "rlottery/py.typed"}, r"lacks rlottery/py\.typed"),
        ({"dropped": f"{INFO}/licenses/LICENSE"}, "lacks .*LICENSE"),
        ({"dropped": KERNELS}, "lacks .*_kernels.so, which its name doesn't say"),
        ({"tag": "py3-none-any"}, "contains .*_kernels.so, which its name doesn't say"),
        ({"tag": "cp311-cp311-linux_x86_64"}, "is for one Python alone"),
        ({"packed": {"tests/test_x.py": ""}}, r"not expected \['tests'\]"),
        ({"packed": {KERNELS: ""}}, "contains what was built"),
        ({"about": ABOUT.replace(f"Version: {__version__}", "Version: 9.9")}, "version 9.9, but the sources say"),
        ({"about": ABOUT.replace("kernels.md", "no-such-page.md")}, "links to docs/no-such-page.md"),
    ],
)
def test_a_planted_fault(tmp_path: Path, difference: dict[str, str], fault: str) -> None:
    found = made(tmp_path, **difference)  # type: ignore[arg-type]
    assert found and any(re.search(fault, one) for one in found)


def test_a_release_needs_addresses_and_a_wheel_for_every_platform(tmp_path: Path) -> None:
    made(tmp_path)
    found = "\n".join(faults(tmp_path, release=True))
    for fault in ("no addresses", "no wheel for manylinux", "no wheel for macosx", "leads nowhere", "that built it"):
        assert fault in found
