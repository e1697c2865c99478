"""The documentation site: built strictly, its links followed, and used in a browser without a network."""

import ast
import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import typer
import yaml

import rlottery
from rlottery.cli import app

pytest.importorskip("zensical", reason="The site's tools are missing; install them with: uv sync --group docs")

from tools.docs_site import build, pages
from tools.docs_site.terms import with_terms

HERE = "http://here"


class Page(HTMLParser):
    """What a page refers to and what can be referred to on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.fragments: set[str] = set()
        self.title = ""
        self.headings = 0
        self._in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.fragments |= {value for key, value in attrs if key in ("id", "name") and value}
        self._in_title = tag == "title" and not self.title
        self.headings += tag == "h1"
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        elif tag in ("script", "img", "video", "source", "iframe") and given.get("src"):
            self.loads.append(str(given["src"]))
        elif tag == "link" and given.get("href"):
            self.loads.append(str(given["href"]))

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    build.stage(folder=folder)
    built = subprocess.run([sys.executable, "-c", _BUILD, str(folder)], capture_output=True, text=True)
    assert built.returncode == 0 and "No issues found" in built.stderr, built.stdout + built.stderr
    assert "griffe" not in built.stderr, f"docstrings of the public functions:\n{built.stderr}"
    return folder / "html"


_BUILD = (
    "import sys; from pathlib import Path; from tools.docs_site.build import build; sys.exit(build(Path(sys.argv[1])))"
)


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, Page]:
    """Address -> every page of the site, without the reports, which have tests of their own."""
    found = [file for file in site.rglob("*.html") if file.name == "index.html"]
    return {f"{file.parent.relative_to(site).as_posix()}/".removeprefix("./"): Page(file.read_text()) for file in found}


def test_every_page_has_a_title_and_a_heading(read: dict[str, Page]) -> None:
    assert len(read) > 60
    titles = [page.title for page in read.values()]
    assert all(titles) and [address for address, page in read.items() if page.headings == 0] == []
    assert read[""].title == "Home - rlottery" and read["tasks/"].title == "Tasks - rlottery"


def test_every_link_leads_somewhere(read: dict[str, Page], site: Path) -> None:
    broken, followed = [], 0
    for address, page in read.items():
        for link in page.links + page.loads:
            parts = urlsplit(urljoin(f"{HERE}/{address}", link))
            if f"{parts.scheme}://{parts.netloc}" != HERE:
                continue
            followed += 1
            path = unquote(parts.path).removeprefix("/")
            there = read.get(path)
            if there is None and not (site / path).is_file():
                broken.append(f"{address}: {link}")
            elif there is not None and parts.fragment and unquote(parts.fragment) not in there.fragments:
                broken.append(f"{address}: {link} has no such heading")
    assert broken == [] and followed > 1000


def test_pages_load_nothing_from_other_hosts(read: dict[str, Page]) -> None:
    loads = {urljoin(f"{HERE}/{address}", load) for address, page in read.items() for load in page.loads}
    assert loads and [load for load in loads if not load.startswith((f"{HERE}/", "data:"))] == []


def test_a_broken_link_or_fragment_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    settings = (build.HERE / "zensical.toml").read_text()
    (tmp_path / "zensical.toml").write_text(settings.partition("[project.plugins")[0])
    (tmp_path / "docs" / "style.css").touch()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[there](two.md#second)\n")
    (tmp_path / "docs" / "two.md").write_text("# Two\n\n## Second\n")
    assert build.build(tmp_path) == 0
    (tmp_path / "docs" / "two.md").write_text("# Two\n\n## Third\n")
    assert build.build(tmp_path) != 0


def test_links_to_files_that_are_missing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# One\n\n`[not](a.md)` [other](../other.py)\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(pages.SiteError, match=r"docs/one.md links to ../other.py, which doesn't exist"):
        pages.Site(tmp_path / "site").add(["docs/one.md"])
    (tmp_path / "other.py").write_text("print(1)\n")
    pages.Site(tmp_path / "site").add(["docs/one.md"])
    assert "`[not](a.md)` [other](files/other.py.md)" in (tmp_path / "site" / "one.md").read_text()
    assert "```python\nprint(1)\n```" in (tmp_path / "site" / "files" / "other.py.md").read_text()


def test_pages_that_are_gone_leave_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("# One\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "old.md").write_text("# Old\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    pages.Site(tmp_path / "site").add(["docs/one.md"])
    assert [file.name for file in (tmp_path / "site").iterdir()] == ["one.md"]


def test_a_page_without_a_place_in_the_reading_order_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without = (build.HERE / "nav.yaml").read_text().replace("        - Tasks: docs/tasks.md\n", "")
    (tmp_path / "nav.yaml").write_text(without)
    (tmp_path / "style.css").touch()
    monkeypatch.setattr(build, "HERE", tmp_path)
    with pytest.raises(pages.SiteError, match=r"docs/tasks.md: not in tools/docs_site/nav.yaml"):
        build.stage(folder=tmp_path)
    (tmp_path / "nav.yaml").write_text(f"{without}- docs/tasks.md\n- docs/no-such-page.md\n")
    with pytest.raises(pages.SiteError, match=r"docs/no-such-page.md, which tools/docs_site/nav.yaml lists"):
        build.stage(folder=tmp_path)


def test_groups_without_pages_are_left_out() -> None:
    shown = pages.navigation(["README.md", {"Nothing": ["docs/no-such-folder/*"]}, {"Agents": ["docs/agents/*"]}])
    assert shown[0] == "README.md" and [*shown[1]] == ["Agents"]
    assert pages.toml(shown[:1]) == '["index.md"]' and '"agents/sac.md"' in pages.toml(shown)


def test_markdown_of_code_hosts_reads_the_same_on_the_site() -> None:
    text = "| `\\|w\\|` | a \\| b |\n\np \\< 0.001 and `\\|`\n"
    assert pages.as_python_markdown(text) == "| `|w|` | a \\| b |\n\np &lt; 0.001 and `\\|`\n"


def test_terms_link_to_the_glossary_once_and_only_in_prose() -> None:
    text = "# The mask\n\n`mask` [mask](a.md)\n\n```\nmask\n```\n\n    mask\n\n- A mask, the masks: **a control**.\n"
    shown = with_terms(text, "../glossary.md")
    assert shown.count("](../glossary.md#mask){ .term title=") == 1 and "- A [mask](../glossary.md#mask)" in shown
    assert "the masks: **a [control](../glossary.md#control)" in shown
    assert re.sub(r"\[([^]]*)\]\(\.\./glossary[^}]*\}", r"\1", shown) == text


MEANT = {
    "interval": ["the 95 % interval of it", "the whole interval is below 0", "It has no interval."],
    "dense-agent": ["a dense agent", "A dense run.", "it matches dense", "**Dense** agents", "open against dense"],
    "power": ["found with 80 % power", "more seeds"],
    "control": ["A control has random masks."],
    "allocation": ["The allocation decides."],
    "schedule": ["All schedules prune."],
    "normalised-score": ["by 0.1 in normalised score"],
    "failed-run": ["the table of failures"],
}
OTHERWISE = {
    "interval": ["the interval must be at least 3 steps", "dropped at intervals", "intervals and rewind points"],
    "dense-agent": ["one dense gradient at each update", "a small dense network", "the masked dense path"],
    "from-the-start": ["sparse from the start", "counted from the start of training"],
    "power": ["a power cut", "the power that the GPU draws"],
    "control": ["no control characters", "DeepMind Control", "its control groups", "Human-level control"],
    "allocation": ["which runs an allocation does", "up to 500 allocations at each look"],
    "schedule": ["schedules of the learning rate"],
    "session": ["the login session", "a session of their own"],
    "normalised-score": ["values of normalised rewards"],
    "failed-run": ["failed runs resume from their last checkpoints", "a temporary failure"],
}


def test_words_link_only_where_they_mean_the_term() -> None:
    for term, uses in MEANT.items():
        for use in uses:
            assert f"glossary.md#{term})" in with_terms(f"{use}\n", "glossary.md"), use
    for term, uses in OTHERWISE.items():
        for use in uses:
            assert f"glossary.md#{term})" not in with_terms(f"{use}\n", "glossary.md"), use
        if term in MEANT:  # a use with another meaning is not the first one
            both = with_terms(f"{uses[0]}. {'And so on. ' * 5}{MEANT[term][0]}\n", "glossary.md")
            assert both.count(f"glossary.md#{term})") == 1


def test_output_fits_its_block_on_a_laptop(page: Any, address: str) -> None:
    """On a screen of 1,280 pixels, on pages without and with a list of pages at their left."""
    for name in ("", "get-started/", "tutorials/first-ticket/"):
        page.goto(address + name)
        widths = page.eval_on_selector_all(
            ".language-text pre > code", "blocks => blocks.map(block => [block.scrollWidth, block.clientWidth])"
        )
        assert widths and all(needed <= there for needed, there in widths), (name, widths)


def test_the_command_says_where_the_site_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code in (0, 1):
        monkeypatch.setattr(subprocess, "run", lambda *_, code=code, **__: subprocess.CompletedProcess([], code))
        assert build.build(tmp_path) == code
        out = capsys.readouterr().out
        assert (f"The site is in {tmp_path / 'html'}." in out) == ("--serve" in out) == (code == 0)
        assert "index.html" not in out  # whose links lead to folders, which only a server turns into pages


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    text = (site / "reference" / "command-line" / "index.html").read_text()
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        section = text.partition(f'id="rlottery-{name}"')[2].partition("<h2")[0]
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
            assert f"<code>{shown}</code>" in section, f"{name}: {shown}"


def test_the_reference_has_every_key_of_the_default_config(site: Path) -> None:
    text = (site / "reference" / "config-keys" / "index.html").read_text()
    default = yaml.safe_load((pages.ROOT / "config.yaml").read_text())
    keys = {key for section in default.values() if isinstance(section, dict) for key in section} | set(default)
    assert len(keys) > 50 and [key for key in sorted(keys) if f"<code>{key}</code>" not in text] == []
    assert "a number above 0 and at most 1" in text and "`" not in re.sub(r"<[^>]+>", "", text.partition("<h1")[2])


def test_the_reference_has_every_public_name_with_its_documentation(site: Path) -> None:
    text = (site / "reference" / "python-api" / "index.html").read_text()
    for name, module in rlottery._MODULES.items():
        code = ast.parse((pages.ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
        (definition,) = (one for one in code.body if getattr(one, "name", None) == name)
        assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
        documentation = (ast.get_docstring(definition) or "").split()
        section = text.partition(f'id="rlottery.{name}"')[2][:20_000]
        assert documentation and " ".join(documentation[:3]) in " ".join(re.sub(r"<[^>]+>", " ", section).split()), name


def test_reports_and_sources_are_on_the_site(site: Path) -> None:
    for report in (pages.ROOT / "results").glob("*/report.html"):
        study = report.parent.name
        assert (site / "results" / study / "report.html").read_bytes() == report.read_bytes()
        assert 'href="report.html"' in (site / "results" / study / "index.html").read_text()
    assert "tasks:" in re.sub(r"<[^>]+>", "", (site / "files" / "config.yaml" / "index.html").read_text())


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site, served on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("There is no Chromium on this machine; on Debian, install it with: apt install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="Install Playwright with: uv sync --group docs")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A tab on a screen of 1280 px that reaches this machine alone; errors and requests to others fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(60_000)
    tab, problems = context.new_page(), []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)

    def answer(route: Any) -> None:
        if route.request.url.startswith(address):
            route.continue_()
        else:
            problems.append(f"asks another host: {route.request.url}")
            route.abort()

    context.route("**/*", answer)
    yield tab
    context.close()
    assert problems == []


def test_a_reader_finds_the_way(page: Any, address: str) -> None:
    page.goto(address)
    assert page.title() == "Home - rlottery" and page.locator("h1").inner_text().startswith("rlottery")
    page.get_by_role("link", name="Explanations").first.click()
    page.wait_for_url("**/statistics/")
    page.locator(".md-sidebar--primary").get_by_role("link", name="Architecture").click()
    page.wait_for_url("**/architecture/")
    assert page.locator("h1").inner_text().startswith("Architecture")


def test_search_finds_taylor(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("taylor")
    result = page.locator("a", has_text="Stability over batches").filter(visible=True).first
    result.click()
    page.wait_for_url("**/masks/**")
    assert "taylor" in page.locator("article").inner_text().lower()


def test_light_and_dark(page: Any, address: str) -> None:
    def brightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    page.goto(address)
    assert brightness() > 700
    for _ in range(2):  # system, light, dark
        page.locator("label[for^=__palette_]").filter(visible=True).first.click()
    assert brightness() < 150


@pytest.mark.parametrize(
    "path",
    ["", "get-started/", "statistics/", "reference/python-api/", "reference/config-keys/", "results/default/"],
)
def test_a_phone_scrolls_down_only(page: Any, address: str, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address + path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    commands = "[...document.querySelectorAll('.language-bash code')]"  # wrapped
    assert page.evaluate(f"{commands}.every(code => code.scrollWidth <= code.clientWidth)")
