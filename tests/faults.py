"""Kills a study many times, damages its files, and checks that it still ends in the same bits.

uv run python -m tests.faults --kills 50 --damages 20
uv run python -m tests.faults --study arms --kills 12 --damages 2 --others 5
uv run python -m tests.faults --study arms --algorithm td3 --kills 50
uv run python -m tests.faults --study arms --on slurm --faults 50
uv run python -m tests.faults --study arms --on dask --faults 50

There are two studies: the guide's two methods on three tasks, and every kind of arm on one; `--algorithm` trains both
with another algorithm, on a task of `tests/cases.py`. Each is run undisturbed.
Others of the same config are killed: at random moments, and while a checkpoint is being written; all of it, or the
command alone, or a worker alone; and asked to stop by SIGTERM and by Ctrl-C. After each, the same command is started
again. Once a study has finished, its weights, masks, metrics (but for fields of wall-clock time) and replay buffers are
compared with those of the undisturbed one, byte by byte. Half of the studies keep JAX's compilations in a cache. Needs
/proc, so Linux.

`--others` loses a part of a finished study and runs it again with other XLA flags and without kernels, which gives
other bits. No file of a finished result may change then, the next command must refuse, and with the flags of before the
study must end in the same bits.

`--on` runs a study on a cluster of this machine, and does to its jobs and nodes what happens there.

The test suite uses the same functions, but draws no reports and shares one compilation cache among all commands.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from rlottery.storage.manifests import read_manifest
from rlottery.storage.metrics_log import WALL_CLOCK
from rlottery.storage.paths import RunFiles
from rlottery.storage.progress import read_progress
from rlottery.study.execution import template
from tests.started import ends_with_its_test
from tests.waiting import wait_for

if TYPE_CHECKING:  # imports JAX
    from tests.cases import Case


class Study(NamedTuple):
    """A config, and the arguments of the commands that run it, one after the other."""

    config: str
    commands: tuple[tuple[str, ...], ...]


GUIDE_CONFIG = """\
name: faults
tasks:
  - Pendulum-v1
  - id: InvertedPendulum-v5
    training: {replay_capacity: 400, environments: 4}
  - id: drawer-close-v3
    training: {env_steps: 1600, environments: 2, updates_per_step: 0.25}
seeds: [0]
network: {actor: [16, 16], critic: [16, 16]}
pruning: {sparsity: 0.7, controls: [], num_gradient_batches: 4, gradient_batch_size: 32}
training: {env_steps: 1400, warmup_steps: 200}
evaluation: {interval: 400, episodes: 1, score_evaluations: 1, untrained_policies: 2}
"""
"""Short episodes, long ones, and Meta-World's; a replay buffer that wraps; one environment, and several."""

GUIDE = Study(GUIDE_CONFIG, (("--pruning-method", "magnitude"), ("--pruning-method", "gradient")))

ARMS_CONFIG = """\
name: faults-arms
tasks: [Pendulum-v1]
seeds: [0]
network: {actor: [16, 16], critic: [16, 16]}
arms:
  - {name: magnitude, criterion: magnitude, sparsity: 0.8}
  - {name: erk, criterion: taylor, sparsity: {actor: 0.8, critic: 0.7}, allocation: erk, batches: 4, batch_size: 32}
  - {name: iterative, criterion: magnitude, sparsity: 0.75, schedule: {iterative: {rate: 0.5}}, rewind: {step: 300}}
  - {name: fine-tuned, criterion: magnitude, sparsity: 0.5, rewind: none}
  - {name: gradual, schedule: {gradual: {interval: 100}}, sparsity: 0.8}
  - {name: set, schedule: {set: {interval: 50}}, sparsity: 0.8}
  - {name: rigl, schedule: {rigl: {interval: 50}}, sparsity: 0.8, rescale: true}
  - {name: snip, criterion: snip, sparsity: 0.8, batches: 4, batch_size: 32}
  - {name: units, criterion: wanda, sparsity: 0.5, structure: units, batches: 4, batch_size: 32}
  - name: given
    criterion: gradient
    allocation: {actor: [0.5, 0.9, 0.0], critic: [0.0, 0.9, 0.5]}
    estimator: abs-mean
    batches: 4
    batch_size: 32
  - {control: random, of: magnitude}
  - {control: random-erk, of: magnitude}
  - {control: shuffled, of: magnitude}
  - {control: first-layer, of: magnitude}
  - {control: inverted, of: magnitude}
  - {control: permuted-weights, of: magnitude}
  - {control: fresh-weights, of: magnitude, rescale: true}
  - {control: small-dense, of: magnitude}
  - {control: dense-again}
  - {control: random, of: iterative}
  - {control: random, of: fine-tuned}
  - {control: random, of: rigl}
training: {env_steps: 800, warmup_steps: 200}
evaluation: {interval: 400, episodes: 1, score_evaluations: 1, untrained_policies: 2}
"""
TRANSFER = "arms=[{name: magnitude, criterion: magnitude, sparsity: 0.8}, {transfer: {seed: next}, of: magnitude}]"
ARMS = Study(ARMS_CONFIG, ((), ("seeds=[0, 1]", TRANSFER)))
"""Every kind of arm; an arm that needs a second seed has its own command, so that the others need none."""

FEW_ARMS = (
    "arms=[{name: magnitude, criterion: magnitude, sparsity: 0.8}, {control: random, of: magnitude}, "
    "{name: iterative, criterion: magnitude, sparsity: 0.75, schedule: {iterative: {rate: 0.5}}, rewind: {step: 300}}, "
    "{name: gradual, schedule: {gradual: {interval: 100}}, sparsity: 0.8}, "
    "{name: rigl, schedule: {rigl: {interval: 100}}, sparsity: 0.8, rescale: true}]"
)
FEW = Study(ARMS_CONFIG, ((FEW_ARMS,),))
"""An arm of each way of training."""

STUDIES = {"guide": GUIDE, "arms": ARMS, "few": FEW}


def with_case(study: Study, case: "Case") -> Study:
    """The same study of another algorithm, with each task replaced by the case's."""
    config = yaml.safe_load(study.config)
    config |= {"algorithm": case.name, case.name: dict(case.section), "tasks": [case.task]}
    config["network"] = own_groups(config["network"], case)
    if not case.training:  # it learns from rollouts, without a warm-up
        config["training"] = {"env_steps": config["training"]["env_steps"]}
    arms = [of_case(arm, case) for arm in config.pop("arms", [])]
    return study._replace(config=yaml.safe_dump(config | ({"arms": arms} if arms else {}), sort_keys=False))


def of_case(arm: dict[str, Any], case: "Case") -> dict[str, Any]:
    """An arm with the case's groups of networks, whose last layers may have one output, which a ranking can cut off.

    Masks change only between two rollouts of an algorithm that learns from these.
    """
    arm = {key: own_groups(value, case) for key, value in arm.items()}
    if arm.get("name") == "gradual":
        arm["allocation"] = "erk"
    steps = case.section.get("rollout_steps", 1)
    for kind, keys in dict(arm.get("schedule", {})).items():
        if "interval" in keys:
            arm["schedule"] = {kind: keys | {"interval": -(-keys["interval"] // steps) * steps}}
    return arm


def own_groups(value: Any, case: "Case") -> Any:
    """What is given for actor and critic, for the groups of another algorithm; a group of its own gets the critic's."""
    if isinstance(value, dict) and value.keys() == {"actor", "critic"}:
        return {group: value.get(group, value["critic"]) for group in case.groups}
    return value


KINDS = ("all", "all", "all", "command", "worker", "SIGTERM", "SIGINT")
LATEST_KILL_SECONDS = 12.0
IS_SCRIPT = __name__ == "__main__"
"""Whether the commands draw reports, and compile as users have it. The test suite compares weights, masks, metrics and
replay buffers alone, and compiles in half the time."""
WITHOUT_REPORT = (
    "import sys, types; sys.modules['rlottery.report.files'] = types.SimpleNamespace(write_report=lambda *_: []); "
)
NEVER = "checkpoint_seconds=1e9"
ALWAYS = "checkpoint_seconds=0"


def start(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """`rlottery run` in `folder`, in a process group of its own."""
    # What a shell's background jobs start ignores an interrupt: it is heard again here.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from rlottery.__main__ import main; main()"
    )
    code = code if IS_SCRIPT else WITHOUT_REPORT + code
    own = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])} | ({"XLA_FLAGS": ""} if IS_SCRIPT else {})
    with (folder / "command.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "run", "config.yaml", *arguments],
            cwd=folder,
            env=os.environ | own | (environment or {}),
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    return ends_with_its_test(process)


def make_study(folder: Path, config: str) -> Path:
    """A folder with a config and nothing else."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    return folder


def sessions(run: RunFiles) -> int:
    """How many processes have trained a run, one after the other."""
    manifest = read_manifest(run)
    assert manifest is not None
    return len(manifest["sittings"])


def starter_of_node(files: RunFiles) -> int:
    """The engine's process that has started the node which trains a run: the parent of the worker's parent."""
    return parent(parent(worker_of(files)))


def worker_of(files: RunFiles) -> int:
    """The process that trains a run, which may be about to begin."""
    wait_for(lambda: read_progress(files.progress) is not None)
    progress = read_progress(files.progress)
    assert progress is not None
    return progress.pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def digests(data: Path) -> dict[str, str]:
    """SHA-256 of everything in a study that must not depend on how often it was killed."""
    found = {}
    for path in sorted([*(data / "runs").rglob("*"), *(data / "masks").rglob("*")]):
        if path.suffix in (".safetensors", ".npy", ".pkl"):
            content = path.read_bytes()
        elif path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            kept = [{name: value for name, value in row.items() if name not in WALL_CLOCK} for row in rows]
            content = json.dumps(kept).encode()
        else:
            continue
        found[str(path.relative_to(data))] = hashlib.sha256(content).hexdigest()
    return found


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes that a command has started and that are still there, but for the one that workers are forked from."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition(" (")[2].rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(fields[1]) == process.pid and fields[0] != "Z" and name != template.NAME:
            found.append(int(path.parent.name))
    return found


def half_written(data: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any((data / "runs").glob("*/*/*/checkpoint/.*.partial-*"))


def kill(process: subprocess.Popen[str], kind: str) -> None:
    """Kill a command's processes, or some of them, or ask it to stop."""
    workers = workers_of(process)
    if kind.startswith("SIG"):
        process.send_signal(getattr(signal, kind))
        return
    victims = {"all": [process.pid, *workers], "command": [process.pid], "worker": workers[:1]}[kind]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def disturb(folder: Path, process: subprocess.Popen[str], chance: random.Random, latest: float) -> str | None:
    """Kill a command once, and wait until it has ended; None if it had ended before."""
    kind, in_write = chance.choice(KINDS), chance.random() < 0.5
    moment = time.monotonic() + chance.uniform(0.5, latest)
    while time.monotonic() < moment:
        if process.poll() is not None:
            return None
        time.sleep(0.01)
    give_up = time.monotonic() + LATEST_KILL_SECONDS
    while in_write and not half_written(folder / "data") and time.monotonic() < give_up:
        if process.poll() is not None:
            return None
    kill(process, kind)
    what = f"{kind}{' while a checkpoint was written' if in_write and time.monotonic() < give_up else ''}"
    if kind != "worker":
        process.wait()
    return what


def endure(
    folder: Path,
    study: Study,
    kills: int,
    chance: random.Random,
    cache: bool = False,
    latest: float = LATEST_KILL_SECONDS,
) -> Counter[str]:
    """Run a study to its end through at most `kills` kills; how often it was killed in which way.

    Args:
        cache: keep JAX's compilations in a cache of the study's own.
        latest: seconds after the start of a command until which it may be killed.
    """
    survived: Counter[str] = Counter()
    kept = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = kept if cache else {}
    for number, command in enumerate(study.commands, start=1):
        while True:
            process = start(folder, *command, ALWAYS, environment=environment)
            what = None
            while (
                survived.total() < kills * number // len(study.commands)
                and (what := disturb(folder, process, chance, latest)) is not None
            ):
                survived[what] += 1
                print(f"{folder.name}, command {number}: killed {survived.total()}: {what}", flush=True)
                if process.poll() is not None:
                    break
            code = process.wait()
            if what is None and code == 0:
                break
            if what is None and code == 1:
                raise SystemExit(f"{folder.name} failed:\n{(folder / 'command.log').read_text()[-3000:]}")
            if code not in (0, -signal.SIGKILL, 1, 75, 130):
                log = (folder / "command.log").read_text()
                raise SystemExit(f"{folder.name}: exit code {code}; its log ends:\n{log[-3000:]}")
    return survived


def damage_something(data: Path, chance: random.Random) -> str:
    """Flip a byte of a file of a study, cut it short, or remove it; what was done to which."""
    suffixes = (".safetensors", ".npy", ".pkl", ".json", ".jsonl")
    files = [path for path in sorted(data.rglob("*")) if path.suffix in suffixes and path.stat().st_size]
    path = chance.choice([path for path in files if "report" not in path.parts and path.name != "progress.json"])
    content = bytearray(path.read_bytes())
    what = chance.choice(("flipped", "cut short", "removed"))
    if what == "removed":
        path.unlink()
    elif what == "cut short":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
    return f"{what}: {path.relative_to(data)}"


def found_by_verify(folder: Path) -> bool:
    """Whether `rlottery verify` says that something is wrong."""
    code = "from rlottery.cli import app; app()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    arguments = [sys.executable, "-c", code, "verify", "config.yaml"]
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return "checked files " in done.stdout


def repair(
    folder: Path, study: Study, damages: int, chance: random.Random, expected: dict[str, str]
) -> tuple[int, int, list[str]]:
    """Damage a study, finished or interrupted, and run it again. Counts how often verify saw it, and its repairs."""
    seen = repaired = 0
    wrong = []
    for number in range(damages):
        if number % 2:  # an interrupted study, without its results and with checkpoints
            for arm in chance.sample(sorted((folder / "data" / "runs").glob("*/*/*")), 2):
                shutil.rmtree(arm)
            process = start(folder, *study.commands[0], ALWAYS)
            deadline = time.monotonic() + 60
            while not any((folder / "data" / "runs").glob("*/*/*/checkpoint/step_*.json")):
                if process.poll() is not None or time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 1.5))
            kill(process, "all")
            process.wait()
        what = damage_something(folder / "data", chance)
        saw = found_by_verify(folder)
        seen += saw
        for command in study.commands:
            start(folder, *command, ALWAYS).wait()
        same = digests(folder / "data") == expected
        repaired += same
        print(f"damage {number + 1}: {what}: {'seen' if saw else 'NOT SEEN'}, {'repaired' if same else 'NOT REPAIRED'}")
        sys.stdout.flush()
        # In an interrupted study, some files are overwritten before they are read.
        if not same or (not saw and number % 2 == 0):
            wrong.append(what)
    return seen, repaired, wrong


OTHERS = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_cpu_max_isa=SSE4_2", "RLOTTERY_KERNELS": "off"}
"""Variables that change the last digits of what a worker computes."""


def lose_a_part(data: Path, chance: random.Random) -> str:
    """Remove or damage a part of a finished run whose repair needs training; what was done to which."""
    run = chance.choice([path.parent for path in sorted(data.glob("runs/*/*/*/manifest.json"))])
    parts = {"its folder": run, "its agent": run / "agent.safetensors", "its manifest": run / "manifest.json"}
    if run.name == "dense":
        parts |= {"its replay": run / "replay", "its initial weights": run / "initial.safetensors"}
    what = chance.choice(list(parts))
    if parts[what].is_dir():
        shutil.rmtree(parts[what])
    elif chance.random() < 0.5:
        parts[what].unlink()
    else:
        content = bytearray(parts[what].read_bytes())
        content[len(content) // 2] ^= 1
        parts[what].write_bytes(content)
    return f"{run.relative_to(data)} lost {what}"


def keep_results(
    folder: Path, study: Study, times: int, chance: random.Random, expected: dict[str, str]
) -> tuple[int, list[str]]:
    """Lose parts of a finished study and train them to other bits. Counts how often that came out differently, and was
    refused; and describes what went wrong."""
    refused, wrong = 0, []
    for number in range(times):
        what = lose_a_part(folder / "data", chance)
        left = digests(folder / "data")
        codes = [start(folder, *command, NEVER, environment=OTHERS).wait() for command in study.commands]
        found = digests(folder / "data")
        if any(codes):
            refused += 1
            kept = all(found.get(path) == digest for path, digest in left.items())
            codes = [start(folder, *command, NEVER, environment=OTHERS).wait() for command in study.commands]
            kept &= 2 in codes and found == digests(folder / "data")
        else:  # the same bits, or nothing finished was lost or depended on it
            kept = "folder" in what or all(found.get(path) == digest for path, digest in expected.items())
        restored = [start(folder, *command, NEVER).wait() for command in study.commands]
        same = digests(folder / "data") == expected
        print(f"others {number + 1}: {what}: {'refused' if any(codes) else 'done'}, ", end="")
        print(f"{'kept' if kept else 'NOT KEPT'}, {'restored' if same else 'NOT RESTORED'}", flush=True)
        if not kept or (any(codes) and (any(restored) or not same)):
            wrong.append(what)
        if not same:  # what had no result came out with other bits
            restore(folder, study)
    return refused, wrong


def restore(folder: Path, study: Study) -> None:
    """Train a study anew."""
    shutil.rmtree(folder / "data")
    for command in study.commands:
        start(folder, *command, NEVER).wait()


def count_differing(folder: Path, expected: Mapping[str, str]) -> int:
    """How many files of a study differ from those with these digests; each is printed."""
    found = digests(folder / "data")
    differing = [path for path in sorted(expected.keys() | found.keys()) if found.get(path) != expected.get(path)]
    for path in differing:
        print(f"{folder.name}: {path} DIFFERS", flush=True)
    return len(differing)


def survives(
    study: Study, folder: Path, kills: int, kills_per_study: int, damages: int, others: int, chance: random.Random
) -> bool:
    """Whether a study's bits are the same through kills and damages; what happened is printed."""
    undisturbed = make_study(folder / "undisturbed", study.config)
    for command in study.commands:
        if code := start(undisturbed, *command, NEVER).wait():
            print((undisturbed / "command.log").read_text())
            raise SystemExit(f"The undisturbed study ended with exit code {code}.")
    expected = digests(undisturbed / "data")
    print(f"The undisturbed study has {len(expected)} files to compare.", flush=True)
    survived: Counter[str] = Counter()
    compared = differing = 0
    while survived.total() < kills:
        killed = make_study(folder / f"killed_{compared}", study.config)
        left = min(kills_per_study, kills - survived.total())
        survived += endure(killed, study, left, chance, cache=bool(compared % 2))
        compared += 1
        differing += count_differing(killed, expected)
    for kind, times in survived.most_common():
        print(f"  {times:3} {kind}")
    print(f"{survived.total()} kills, {compared} studies compared, {differing} of their files differ.", flush=True)
    wrong: list[str] = []
    if damages:
        seen, repaired, wrong = repair(undisturbed, study, damages, chance, expected)
        print(f"{damages} files damaged: {seen} seen by verify, {repaired} repaired.", flush=True)
    if others:
        refused, replaced = keep_results(undisturbed, study, others, chance, expected)
        print(f"{others} parts lost and trained to other bits: {refused} refused, {len(replaced)} wrong.", flush=True)
        wrong += replaced
    return not differing and not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=(*STUDIES, "both"), default="both")
    parser.add_argument("--algorithm", help="sac, td3, ...; also NAME-TASK, such as td3-Pendulum-v1")
    parser.add_argument("--kills", type=int, default=50, help="of each study")
    parser.add_argument("--damages", type=int, default=0, help="to each study")
    parser.add_argument("--others", type=int, default=0, help="parts lost and trained again with other bits")
    parser.add_argument("--on", choices=("slurm", "dask"), help="do the faults to studies on a cluster, and no kills")
    parser.add_argument("--faults", type=int, default=50, help="of each study on a cluster")
    parser.add_argument("--cores", type=int, default=1, help="of each job on Slurm")
    parser.add_argument("--no-requeue", action="store_true", help="jobs on Slurm may not requeue themselves")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and kinds of kills")
    parser.add_argument("--kills-per-study", type=int, default=25, help="before the study's files are compared")
    given = parser.parse_args()
    sound = True
    for name in ("guide", "arms") if given.study == "both" else (given.study,):
        print(f"Study {name}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            chance, study = random.Random(given.seed), STUDIES[name]
            if given.algorithm:
                from tests.cases import case_called

                study = with_case(study, case_called(given.algorithm))
            if given.on:
                sound &= on_cluster(given, study, Path(folder), chance)
            else:
                sound &= survives(
                    study, Path(folder), given.kills, given.kills_per_study, given.damages, given.others, chance
                )
    return 0 if sound else 1


def on_cluster(given: argparse.Namespace, study: Study, folder: Path, chance: random.Random) -> bool:
    """Whether a study's bits are the same on a cluster to which faults happen."""
    from tests.cluster_faults import Engine, survives_on
    from tests.dask_cluster import DaskCluster
    from tests.dask_faults import DaskFaults
    from tests.slurm_cluster import SlurmCluster
    from tests.slurm_faults import SlurmFaults

    with contextlib.ExitStack() as running:
        engine: Engine
        if given.on == "dask":
            engine = DaskFaults(running.enter_context(DaskCluster(folder / "dask")))
        else:
            slurm = running.enter_context(SlurmCluster(folder / "slurm"))
            engine = SlurmFaults(slurm, given.cores, requeue=not given.no_requeue)
        return survives_on(engine, study, folder, given.faults, given.kills_per_study, chance)


if __name__ == "__main__":
    sys.exit(main())
