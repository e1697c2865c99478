"""What Dask and Ray take on one machine with two workers: the measurements behind the choice in docs/decisions.md.

    uv run --extra dask python benchmarks/peers/engines.py dask
    python -m venv ray && ray/bin/pip install ray && ray/bin/python benchmarks/peers/engines.py ray

A task runs a process of four seconds, as an allocation of a study does. Its worker is killed as soon as it has begun.
Memory is the resident memory of all processes that this one has started, with shared pages counted in each.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

EMPTY_TASKS = 1_000


def run_process(log: str) -> int:
    """The task: note the process id of the worker, and wait for a process of four seconds."""
    with Path(log).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return subprocess.run([sys.executable, "-c", "import time; time.sleep(4)"], check=True).returncode


def nothing(number: int) -> int:
    """An empty task."""
    return number


def start_dask() -> tuple[Callable[..., Any], Callable[[list[Any]], Any]]:
    """Two workers. Returns the functions that submit a task and that wait for the results of several."""
    from distributed import Client, LocalCluster

    client = Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
    return lambda task, *arguments: client.submit(task, *arguments, pure=False), client.gather


def start_ray() -> tuple[Callable[..., Any], Callable[[list[Any]], Any]]:
    """As `start_dask`."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    remote = cache(ray.remote(max_retries=4))
    return lambda task, *arguments: remote(task).remote(*arguments), ray.get


def memory_of_children() -> tuple[int, float]:
    """The number of processes that descend from this one, and their resident memory in MiB."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in listed.splitlines()]
    family = {os.getpid()}
    while more := {pid for pid, parent, _ in rows if parent in family} - family:
        family |= more
    sizes = [size for pid, _, size in rows if pid in family - {os.getpid()}]
    return len(sizes), sum(sizes) / 1024


def main() -> None:
    began = time.perf_counter()
    submit, gather = {"dask": start_dask, "ray": start_ray}[sys.argv[1]]()
    print(f"started, with the import: {time.perf_counter() - began:.1f} s")
    with tempfile.NamedTemporaryFile() as log:
        began = time.perf_counter()
        result = submit(run_process, log.name)
        while not Path(log.name).read_text():
            time.sleep(0.01)
        print(f"a task begins after {time.perf_counter() - began:.2f} s")
        began = time.perf_counter()
        os.kill(int(Path(log.name).read_text().split()[0]), signal.SIGKILL)
        gather([result])
        print(f"its worker is killed: result after {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    gather([submit(nothing, number) for number in range(EMPTY_TASKS)])
    print(f"{EMPTY_TASKS:,} empty tasks: {time.perf_counter() - began:.1f} s")
    processes, memory = memory_of_children()
    print(f"{processes} processes of {memory:.0f} MiB together")


if __name__ == "__main__":
    main()
