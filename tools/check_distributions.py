"""Check the source archive and the wheels that a release publishes: names, content, and metadata.

    uv run python tools/check_distributions.py dist             # after `uv build --out-dir dist`
    uv run python tools/check_distributions.py dist --release   # also what the package index and its readers need

Prints each fault, and exits with code 1 if there is one.
"""

import argparse
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
MAX_SOURCE_BYTES = 3 * 2**20
KERNELS = "rlottery/agents/kernels/_kernels.so"
IN_EVERY_WHEEL = (
    "rlottery/__init__.py",
    "rlottery/__main__.py",
    "rlottery/py.typed",
    "rlottery/config/default_config.yaml",
    "rlottery/agents/kernels/_kernels.json",
    "rlottery/agents/kernels/csrc/ffi.cc",
)
OF_THE_BUILD = {"PKG-INFO", ".gitignore", "LICENSE", "pyproject.toml"}
"""What is in the source archive besides what pyproject.toml names."""
PLATFORMS = (r"manylinux\w*_x86_64", r"manylinux\w*_aarch64", r"macosx_\w+_arm64")
"""Platforms that a release has wheels for."""


def version() -> str:
    """The version in the sources."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "rlottery/version.py").read_text(), flags=re.M)
    assert found is not None
    return found[1]


def faults(folder: Path, release: bool) -> Iterator[str]:
    """What is wrong with the files in a folder."""
    archives, wheels = sorted(folder.glob("*.tar.gz")), sorted(folder.glob("*.whl"))
    if [path.name for path in archives] != [f"rlottery-{version()}.tar.gz"]:
        yield f"{folder} has the source archives {[path.name for path in archives]}: one of {version()} is expected"
    if not wheels:
        yield f"{folder} has no wheel"
    described: dict[str, Message] = {}
    for archive in archives:
        yield from _faults_of_source(archive, described)
    for wheel in wheels:
        yield from _faults_of_wheel(wheel, described)
    for name, metadata in described.items():
        yield from (f"{name}: {fault}" for fault in _faults_of_metadata(metadata, release))
    if len({metadata.as_string() for metadata in described.values()}) > 1:
        yield f"the metadata of {', '.join(described)} differ"
    if release:
        tags = [path.name for path in wheels]
        yield from (f"no wheel for {one}" for one in PLATFORMS if not any(re.search(one, tag) for tag in tags))
        yield from (f"{tag} is for the machine that built it alone" for tag in tags if re.search("-linux_", tag))
        if not re.search(rf"^## {re.escape(version())}, \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.M):
            yield f"CHANGELOG.md has no heading `## {version()}, YEAR-MONTH-DAY`"


def _faults_of_source(path: Path, described: dict[str, Message]) -> Iterator[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = OF_THE_BUILD | set(settings["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"])
    with tarfile.open(path) as archive:
        names = [PurePosixPath(name) for name in archive.getnames()]
        about = archive.extractfile(f"rlottery-{version()}/PKG-INFO")
        assert about is not None
        described[path.name] = message_from_bytes(about.read())
    top = {name.parts[1] for name in names if len(name.parts) > 1}
    if top != wanted:
        yield f"{path.name}: missing {sorted(wanted - top)}, not expected {sorted(top - wanted)}"
    if built := [str(name) for name in names if name.suffix in (".so", ".pyc", ".pkl")]:
        yield f"{path.name} contains what was built: {', '.join(built)}"
    if path.stat().st_size > MAX_SOURCE_BYTES:
        yield f"{path.name} has {path.stat().st_size:,} bytes, more than {MAX_SOURCE_BYTES:,}"


def _faults_of_wheel(path: Path, described: dict[str, Message]) -> Iterator[str]:
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = f"rlottery-{version()}.dist-info"
        described[path.name] = message_from_bytes(wheel.read(f"{info}/METADATA"))
    missing = [name for name in (*IN_EVERY_WHEEL, f"{info}/licenses/LICENSE") if name not in names]
    if missing:
        yield f"{path.name} lacks {', '.join(missing)}"
    if others := {name.split("/")[0] for name in names} - {"rlottery", info}:
        yield f"{path.name} installs {', '.join(sorted(others))} next to rlottery"
    if not re.search(r"-py3-none-\w+(\.\w+)*\.whl$", path.name):
        yield f"{path.name} is for one Python alone"
    if (KERNELS in names) == path.name.endswith("-any.whl"):
        yield f"{path.name} {'contains' if KERNELS in names else 'lacks'} {KERNELS}, which its name doesn't say"


def _faults_of_metadata(metadata: Message, release: bool) -> Iterator[str]:
    if metadata["Version"] != version():
        yield f"version {metadata['Version']}, but the sources say {version()}"
    if release and not metadata.get_all("Project-URL"):
        yield "no addresses: build it with RLOTTERY_REPOSITORY=https://HOST/OWNER/rlottery"
    page = metadata.get_payload()
    assert isinstance(page, str)
    for target in re.findall(r"\]\(([^)\s]+)\)", page):
        path = re.sub(r"^https://[^/]+/[^/]+/[^/]+/(?:raw|blob)/v[^/]+/", "", target)
        if not path.startswith(("https://", "#")) and not (ROOT / path.split("#")[0]).exists():
            yield f"the description links to {target}, which doesn't exist"
        if release and path == target and not target.startswith(("https://", "#")):
            yield f"the description links to {target}, which leads nowhere on the package index"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", action="store_true")
    given = parser.parse_args()
    found = list(faults(given.folder, given.release))
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(bool(found))
