"""The CSV files of benchmarks' results."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write_rows(name: str, rows: Sequence[Mapping[str, object]], *, keep: Sequence[str] = ()) -> None:
    """Write rows with the same keys to `results/NAME`, and print them.

    Args:
        keep: with keys here, rows of the file stay whose values under these keys no new row has.
    """
    path, earlier = RESULTS / name, list[Mapping[str, object]]()
    if keep and path.exists():
        new = {tuple(str(row[key]) for key in keep) for row in rows}
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            earlier = [row for row in table if tuple(row[key] for key in keep) not in new]
        if list(table.fieldnames or ()) != list(rows[0]):
            raise ValueError(f"{path} has the columns {table.fieldnames}: move it away, or give it those of new rows")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*earlier, *rows])
    for row in rows:
        print(*row.values(), sep="  ")
