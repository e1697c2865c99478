"""The report's files: the comparison as JSON, Markdown and CSV, and the learning curves."""

from pathlib import Path

from rlottery.analysis.comparison import Comparison, to_dict
from rlottery.config import Config
from rlottery.disk import write_bytes, write_json
from rlottery.report.csv_table import to_csv
from rlottery.report.figures import learning_curves
from rlottery.report.table import to_markdown
from rlottery.store import Store


def write_report(store: Store, config: Config, comparison: Comparison) -> list[Path]:
    """Write the report into the data folder, each file whole or not at all.

    Returns:
        The files: comparison.md, learning_curves.png and .svg, comparison.csv and .json.
    """
    page, curves = store.report / "comparison.md", store.report / "learning_curves.png"
    table, data = page.with_suffix(".csv"), page.with_suffix(".json")
    write_json(data, to_dict(comparison))
    learning_curves(store, config, curves)
    write_bytes(table, to_csv(comparison).encode())
    write_bytes(page, to_markdown(comparison).encode())
    return [page, curves, curves.with_suffix(".svg"), table, data]
