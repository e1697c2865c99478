"""The report's files: the page, and the comparison as JSON, Markdown and CSV, and the learning curves."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rlottery.analysis.comparison import to_dict
from rlottery.config import Config
from rlottery.report.contents import Contents
from rlottery.report.csv_table import to_csv
from rlottery.report.figures import learning_curves
from rlottery.report.page import write_page
from rlottery.report.table import to_markdown
from rlottery.storage.disk import write_bytes, write_json


def write_report(folder: Path, config: Config, contents: Contents) -> list[Path]:
    """Write the report into a folder, each file whole or not at all.

    Returns:
        The files to begin with: report.html, comparison.md, learning_curves.png and .svg, comparison.csv and .json.
        The page's figures and tables lie beside them in folders.
    """
    page, curves = folder / "comparison.md", folder / "learning_curves.png"
    table, data = page.with_suffix(".csv"), page.with_suffix(".json")
    write_json(data, to_dict(contents.comparison) | {"verdicts": _plain(contents.verdicts)})
    learning_curves(contents.runs, config, curves)
    write_bytes(table, to_csv(contents.comparison).encode())
    write_bytes(page, to_markdown(contents).encode())
    html = write_page(contents, folder)[0]
    return [html, page, curves, curves.with_suffix(".svg"), table, data]


def _plain(value: Any) -> Any:
    """A data class in plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(value), allow_nan=False))
