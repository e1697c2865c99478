"""Links in the Markdown files lead to files and headings that exist."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """Every Markdown file of the repository; of an unpacked source archive, those that were in it."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    found = [ROOT / line for line in listed.stdout.splitlines()]
    return found or sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(page: Path) -> str:
    """The page without its fenced code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives to the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = page if not path else page.parent / path
        assert linked.exists(), f"{page.name} links to {target}, which doesn't exist"
        if fragment:
            assert fragment in anchors(linked), f"{page.name} links to {target}, but there is no such heading"


def test_anchors_are_made_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The [first](a.md) heading: `code` and more?\n```bash\n# no heading\n```\n## Second\n")
    assert anchors(page) == {"the-first-heading-code-and-more", "second"}
