"""Build the documentation site in build/site/html, or serve it while you write.

    uv run --group docs python -m tools.docs_site            # strict: broken links and anchors are errors
    uv run --group docs python -m tools.docs_site --serve    # http://localhost:8000

The sources are the repository's own pages (tools/docs_site/nav.yaml has their order), with links that work on the site,
and pages that are generated from the code. They are written to build/site/docs, which Zensical renders.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tools.docs_site.pages import ROOT, Site, SiteError, listed_pages, navigation, toml

HERE = Path(__file__).parent
SITE = ROOT / "build" / "site"


def stage(address: str | None = None, repository: str | None = None, folder: Path = SITE) -> None:
    """Write the sources of the site and its settings.

    Args:
        address: where the site will be published; None for a copy that is read locally.
        repository: the address of the code, for a link at the top of each page.
        folder: where.
    """
    order = navigation(yaml.safe_load((HERE / "nav.yaml").read_text()))
    pages = list(listed_pages(order))
    missing = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")} - set(pages)
    if missing:
        raise SiteError(f"{', '.join(sorted(missing))}: not in tools/docs_site/nav.yaml, which has the reading order.")
    reports = [str(page.relative_to(ROOT)) for page in (ROOT / "results").glob("*/report.html")]
    alone = [
        str(page) for entry in order if isinstance(entry, dict) for page in entry.values() if isinstance(page, str)
    ]
    site = Site(folder / "docs", pages, alone)
    site.asset(HERE / "style.css")
    site.add(pages + reports)
    settings = (HERE / "zensical.toml").read_text()
    added = f"nav = {toml(order)}\n"
    added += f'site_url = "{address}"\n' if address else ""
    added += f'repo_url = "{repository}"\n' if repository else ""
    (folder / "zensical.toml").write_text(settings.replace("[project]\n", f"[project]\n{added}", 1))


def build(folder: Path = SITE) -> int:
    """Render the sources; the exit code of Zensical, which lists broken links and anchors."""
    command = ["zensical", "build", "--strict", "--config-file", "zensical.toml"]
    code = subprocess.run([sys.executable, "-m", *command], cwd=folder).returncode
    if code == 0:
        print(f"The site is in {folder / 'html'}. To read it, run this command with --serve.", flush=True)
    return code


def serve() -> int:
    """Serve the site, and rebuild it whenever a file that it is made from changes."""
    server = subprocess.Popen([sys.executable, "-m", "zensical", "serve", "--config-file", "zensical.toml"], cwd=SITE)
    try:
        while server.poll() is None:
            time.sleep(1)
            stage()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
    return server.wait()


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help="serve the site instead of building it")
    parser.add_argument("--address", metavar="URL", help="where the site will be published")
    parser.add_argument("--repository", metavar="URL", help="the address of the code")
    given = parser.parse_args()
    try:
        stage(given.address, given.repository)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 2
    return serve() if given.serve else build()
