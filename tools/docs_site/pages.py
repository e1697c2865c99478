"""Which pages the site has: files of the repository, generated pages, and every file that they link to."""

import posixpath
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tools.docs_site import reference
from tools.docs_site.terms import with_terms

ROOT = Path(__file__).parent.parent.parent

GENERATED: dict[str, Callable[[], str]] = {
    "docs/reference/command-line.md": reference.command_line,
    "docs/reference/config-keys.md": reference.config_keys,
    "docs/reference/python-api.md": reference.python_api,
}
"""Path of a page, as if it was in the repository -> its text."""

WITHOUT_TERMS = ("docs/glossary.md", "CHANGELOG.md", "docs/decisions.md", "docs/reference/")
"""Pages that don't link terms: readers look things up there."""

SHOWN = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".txt": "text", "": "text"}
SHOWN |= {".h": "c", ".cc": "cpp", ".json": "json"}
"""Ending of files that become a page with their text -> how it is highlighted. Others are copied."""

UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
"""What a page begins with that the search doesn't find."""

WIDE = "---\nhide:\n  - navigation\n---\n\n"
"""What a page begins with that has no pages next to it: its text gets the room of their list."""

_LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s]+)(?P<after>\))")
_FENCED = re.compile(r"^(```+|~~~+)[^\n]*\n.*?^\1[ ]*$", re.M | re.S)
_CODE = re.compile(r"^(```+|~~~+)[^\n]*\n.*?^\1[ ]*$|`+[^`]+`+", re.M | re.S)


class SiteError(Exception):
    """The pages can't be made."""


def place(path: str) -> str:
    """Where a file of the repository lies in the site's sources."""
    if path == "README.md":
        return "index.md"
    if "/" not in path and path.endswith(".md"):
        return path.lower()
    folder, _, rest = path.partition("/")
    if folder == "docs":
        return rest
    inside = path if folder == "results" else f"files/{path}"
    if inside.endswith("/README.md"):
        return inside.removesuffix("README.md") + "index.md"
    if (ROOT / path).is_dir():
        return f"{inside}/index.md"
    return f"{inside}.md" if PurePosixPath(path).suffix in SHOWN else inside


@dataclass
class Site:
    """The sources of the site, collected from the pages that it begins with and all that they link to.

    Attributes:
        folder: where they are written.
        searched: pages that the search finds; those that they link to are left out.
        alone: pages that belong to no group, so that nothing is shown at their left.
        written: the files in it so far, relative to it.
    """

    folder: Path
    searched: Sequence[str] = ()
    alone: Sequence[str] = ()
    written: set[str] = field(default_factory=set)
    _queue: list[str] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def add(self, paths: list[str]) -> None:
        """Write these files of the repository, and those that they link to; delete what is not among them."""
        for path in paths:
            if path not in GENERATED and path != "results/README.md" and not (ROOT / path).exists():
                raise SiteError(f"{path}, which tools/docs_site/nav.yaml lists, doesn't exist.")
            self._want(path)
        while self._queue:
            path = self._queue.pop()
            if path in GENERATED:
                self._page(path, GENERATED[path]())
            elif path == "results/README.md":
                self._page(path, studies())
            elif (ROOT / path).is_dir():
                self._page(path, listing(path))
            elif path.endswith(".md"):
                self._page(path, (ROOT / path).read_text())
            elif PurePosixPath(path).suffix in SHOWN:
                self._write(place(path), UNSEARCHED + source(path))
            else:
                self._copy(ROOT / path, place(path))
        for old in self.folder.rglob("*"):
            if old.is_file() and old.relative_to(self.folder).as_posix() not in self.written:
                old.unlink()

    def _want(self, path: str) -> None:
        if path not in self._known:
            self._known.add(path)
            self._queue.append(path)

    def _page(self, path: str, text: str) -> None:
        """A page of the repository, with its links and terms."""
        at = place(path)
        if not re.search(r"^# ", text, flags=re.M):
            text = f"# {path}\n\n{text}"
        text = _outside(_FENCED, text, as_python_markdown)
        report = PurePosixPath(path).parent / "report.html"
        if path.startswith("results/") and (ROOT / report).is_file():
            text = text.replace("\n\n", "\n\n[Open the report](report.html){ .md-button }\n\n", 1)
        text = _outside(_CODE, text, lambda part: _LINK.sub(lambda found: self._link(found, path, at), part))
        if not path.startswith(WITHOUT_TERMS) and not (ROOT / path).is_dir():
            text = with_terms(text, relative("glossary.md", at))
        text = WIDE + text if path in self.alone else text
        self._write(at, text if path in self.searched else UNSEARCHED + text)

    def _link(self, found: re.Match[str], path: str, at: str) -> str:
        target, _, fragment = found["target"].partition("#")
        if re.match(r"[a-z]+:", found["target"]) or not target:
            return found.group()
        linked = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if (ROOT / linked / "README.md").is_file():
            linked += "/README.md"
        if linked not in GENERATED and linked != "results/README.md" and not (ROOT / linked).exists():
            raise SiteError(f"{path} links to {found['target']}, which doesn't exist.")
        self._want(linked)
        return f"{found['before']}{relative(place(linked), at)}{fragment and '#'}{fragment}{found['after']}"

    def _write(self, at: str, text: str) -> None:
        """Only what has changed, so that a server rebuilds only that."""
        self.written.add(at)
        file = self.folder / at
        if not file.is_file() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def _copy(self, original: Path, at: str) -> None:
        self.written.add(at)
        file = self.folder / at
        if not file.is_file() or file.stat().st_mtime < original.stat().st_mtime:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, file)

    def asset(self, original: Path) -> None:
        """A file of the site itself."""
        self._copy(original, original.name)


def as_python_markdown(text: str) -> str:
    """Markdown of code hosts as Python-Markdown reads it: it keeps backslashes before < and, in code, before |."""

    def row(found: re.Match[str]) -> str:
        return re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), found[0])

    return re.sub(r"^\|.*$", row, text, flags=re.M).replace("\\<", "&lt;")


def relative(to: str, at: str) -> str:
    """The path to a page from another one."""
    return posixpath.relpath(to, posixpath.dirname(at) or ".")


def _outside(pattern: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    """A text whose parts outside of a pattern are changed."""
    parts, end = [], 0
    for kept in pattern.finditer(text):
        parts += [change(text[end : kept.start()]), kept.group()]
        end = kept.end()
    return "".join([*parts, change(text[end:])])


def studies() -> str:
    """The overview of all committed studies."""
    lines = []
    for page in sorted((ROOT / "results").glob("*/README.md")):
        title = page.read_text().partition("\n")[0].removeprefix("# ")
        report = f" · [report]({page.parent.name}/report.html)" if (page.parent / "report.html").is_file() else ""
        lines.append(f"- [{title}]({page.parent.name}/README.md){report}")
    return (
        "# Results\n\nThese studies are committed with the code. Each has the config that repeats it, its tables, and "
        "for most the page that `rlottery report` wrote.\n\n" + "\n".join(lines) + "\n"
    )


def listing(path: str) -> str:
    """A page for a folder: its files."""
    names = sorted(file.name for file in (ROOT / path).iterdir() if not file.name.startswith(("_", ".")))
    folder = PurePosixPath(path).name  # links of a page are relative to the folder that it is in
    return f"# {path}\n\n" + "\n".join(f"- [{name}]({folder}/{name})" for name in names) + "\n"


def source(path: str) -> str:
    """A page that shows a text file."""
    text = (ROOT / path).read_text()
    fence = "````" if "```" in text else "```"
    return f"# {path}\n\n{fence}{SHOWN[PurePosixPath(path).suffix]}\n{text.rstrip()}\n{fence}\n"


def navigation(entries: list[object]) -> list[object]:
    """The reading order, with the pages that `*` stands for and without groups that have no page.

    Args:
        entries: a page, or a title with a page or more entries.
    """
    listed = set(listed_pages(entries))
    return [shown for entry in entries for shown in _expanded(entry, listed)]


def listed_pages(entries: list[object]) -> Iterator[str]:
    for entry in entries:
        inner = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(inner, list):
            yield from listed_pages(inner)
        else:
            yield str(inner)


def _expanded(entry: object, listed: set[str]) -> Iterator[object]:
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        below = [shown for one in inner for shown in _expanded(one, listed)] if isinstance(inner, list) else inner
        if below:
            yield {title: below}
    elif str(entry).endswith("/*"):
        folder = ROOT / str(entry).removesuffix("/*")
        found = [*folder.glob("*.md"), *folder.glob("*/README.md")] if folder.is_dir() else []
        names = (page.relative_to(ROOT).as_posix() for page in sorted(found))
        yield from (name for name in names if name not in listed)
    else:
        yield entry


def toml(nav: object) -> str:
    """The reading order as `nav` of zensical.toml, with the places of the pages."""
    if isinstance(nav, list):
        return "[" + ", ".join(map(toml, nav)) + "]"
    if isinstance(nav, dict):
        return "{" + ", ".join(f'"{title}" = {toml(inner)}' for title, inner in nav.items()) + "}"
    return f'"{place(str(nav))}"'
