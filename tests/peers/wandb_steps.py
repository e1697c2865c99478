"""Prints what a folder of offline runs has, as `wandb sync` would send it: run id -> [[step, values], ...]."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER, FILE_HEADER = 32_768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of chunks, each with checksum (4), length (2) and type (1)."""
    data, at, record = path.read_bytes(), FILE_HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        chunk = data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        record = chunk if kind in (FULL, FIRST) else record + chunk
        if kind in (FULL, LAST):
            yield record


found: dict[str, list[list[object]]] = {}
for path in sorted(Path(sys.argv[1]).glob("wandb/offline-run-*/run-*.wandb")):  # in order of time
    rows = found.setdefault(path.stem.removeprefix("run-"), [])
    for data in records(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            rows.append([values["_step"], {key: value for key, value in values.items() if not key.startswith("_")}])
print(json.dumps(found))
