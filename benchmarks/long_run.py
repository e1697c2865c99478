"""Memory, open files and log sizes of a long run, and what its checkpoints cost.

uv run python -m benchmarks.long_run --env-steps 200000

Trains one dense agent with small networks on Pendulum-v1 and reads its worker's entry in /proc every two seconds. The
replay buffer has a capacity of 20,000 transitions and is full after a tenth of the run. After that nothing should grow.
Writes benchmarks/results/long_run.csv.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CONFIG = """\
name: long-run
tasks: [Pendulum-v1]
seeds: [0]
network: {{actor: [64, 64], critic: [64, 64]}}
sac: {{batch_size: 64}}
training: {{env_steps: {steps}, warmup_steps: 1000, replay_capacity: 20000}}
evaluation: {{interval: 10000, episodes: 2}}
checkpoint_seconds: {seconds}
"""
RESULTS = Path(__file__).parent / "results" / "long_run.csv"
LOOK_SECONDS = 2.0


def look(pid: int) -> tuple[float, int, int] | None:
    """Resident memory in MB, open files and threads of a process; None if it has ended."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"])
    except (OSError, KeyError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env-steps", type=int, default=200_000)
    parser.add_argument("--checkpoint-seconds", type=float, default=20.0)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG.format(steps=given.env_steps, seconds=given.checkpoint_seconds))
        code = "from rlottery.cli import app; app()"
        command = [sys.executable, "-c", code, "run", "config.yaml", "--stages", "dense"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        run = folder / "data" / "runs" / "Pendulum-v1" / "seed_0" / "dense"
        while process.poll() is None:
            time.sleep(LOOK_SECONDS)
            try:
                progress = json.loads((run / "progress.json").read_text())
            except (OSError, ValueError):
                continue
            if (seen := look(progress["pid"])) is not None:
                rows.append((progress["env_steps"], *seen))
        manifest = json.loads((run / "manifest.json").read_text())
        sizes = {path.name: path.stat().st_size for path in run.iterdir() if path.is_file()}
        sizes["tensorboard"] = sum(path.stat().st_size for path in (run / "tensorboard").iterdir())
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("env_steps", "resident_mb", "open_files", "threads"))
        writer.writerows(rows[:: max(1, len(rows) // 100)])
    table = np.array(rows)
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        near = table[np.abs(table[:, 0] / given.env_steps - share) < 0.1]
        if len(near):
            memory, files, threads = np.median(near, axis=0)[1:]
            print(f"around {share:4.0%} of the steps: {memory:7.1f} MB, {files:.0f} files, {threads:.0f} threads")
    cost, seconds = manifest["checkpoints"], manifest["seconds"]
    print(f"checkpoints: {cost['written']:.0f} in {seconds:.0f} s took {cost['seconds']:.2f} s: ", end="")
    print(
        f"{cost['seconds'] / max(1.0, cost['written']) * 1e3:.0f} ms each, {cost['seconds'] / seconds:.2%} of the run"
    )
    print("bytes: " + ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items())))


if __name__ == "__main__":
    main()
