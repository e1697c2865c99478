"""Studies written by hand: a config, and the files that finished runs would have left, without training anything."""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console, RenderableType

from rlottery.config import Config, load_config
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import Mask, make_mask
from rlottery.pruning.prune import prune
from rlottery.storage import untrained_record as record
from rlottery.storage.checkpoint_record import CheckpointRecord, record_path
from rlottery.storage.disk import write_arrays, write_bytes
from rlottery.storage.manifests import (
    MANIFEST_FORMAT,
    Manifest,
    Session,
    file_entry,
    read_manifest,
    write_manifest,
    write_sealed,
)
from rlottery.storage.paths import REPLAY_FILES, RunFiles
from rlottery.storage.untrained_record import UntrainedScores
from rlottery.study.planning.arms import built_in_arms
from rlottery.study.planning.fingerprints import Fingerprint, dense_fingerprint, untrained_fingerprint
from rlottery.study.planning.inputs import expected_mask_fingerprint, expected_ticket_fingerprint, initial_kernels
from rlottery.study.planning.jobs import OF_TASK, UNTRAINED, Job, list_jobs
from rlottery.study.planning.plan import Tracked, plan_study

TINY = """\
name: tiny
tasks: [Pendulum-v1]
seeds: [0]
network: {actor: [16, 16], critic: [16, 16]}
pruning: {controls: [], num_gradient_batches: 2, gradient_batch_size: 8}
training: {env_steps: 300, warmup_steps: 100}
evaluation: {interval: 150, episodes: 1, score_evaluations: 1, untrained_policies: 2}
"""
"""Seconds of training; every test that trains in earnest uses it too."""


def tiny_config(folder: Path, *overrides: str) -> Config:
    """The tiny study with its data in `folder`, and overrides as the command line takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(TINY)
    return load_config(path, [f"data={folder / 'data'}", *overrides])


def job(config: Config, stage: str, *, seed: int = 0, method: str = "magnitude", task_index: int = 0) -> Job:
    arm = None if stage == "dense" else built_in_arms(method, config.pruning)[0]
    return Job(config, stage, task_index, seed, arm)


def dense_jobs(folder: Path, *seeds: int) -> list[Tracked]:
    """The dense runs of the tiny study with these seeds, to do."""
    config = tiny_config(folder, f"seeds={list(seeds)}")
    return [Tracked(job) for job in list_jobs(config, [], ("dense",))]


def write_dense(config: Config, *, seed: int = 0, trained: int = 0) -> Job:
    """A finished dense run on a task of 3 observations and 1 action.

    Args:
        trained: trained weights differ from one value to the other, initial ones don't.
    """
    dense = job(config, "dense", seed=seed)
    initial = {
        f"{network}.layer_{layer}.kernel": np.random.default_rng(layer).normal(size=shape).astype(np.float32)
        for network, widths in (
            ("actor", (3, *config.network.actor, 2)),
            ("critic.q1", (4, *config.network.critic, 1)),
            ("critic.q2", (4, *config.network.critic, 1)),
        )
        for layer, shape in enumerate(pairwise(widths))
    }
    write_arrays(dense.files.initial, initial)
    write_arrays(dense.files.agent, {f"params.{name}": kernel + trained for name, kernel in initial.items()})
    write_bytes(dense.files.metrics, b'{"kind": "evaluation", "env_steps": 300, "return": -1000.0}\n')
    for name in REPLAY_FILES:
        write_bytes(dense.files.folder / name, name.encode())
    fingerprint = dense_fingerprint(config, dense.task, seed)
    names = ("initial.safetensors", "agent.safetensors", "metrics.jsonl", *REPLAY_FILES)
    _write_manifest(dense, fingerprint, names, replay="saved")
    return dense


def write_mask(config: Config, *, seed: int = 0, method: str = "magnitude") -> Job:
    """The mask of a finished dense run, in the arm's folder and under its method's name."""
    made = job(config, "mask", seed=seed, method=method)
    data = mask_to_bytes(mask_for(made, expected_mask_fingerprint(made)))
    write_bytes(made.files.mask, data)
    write_bytes(made.mask_path, data)
    return made


def write_ticket(config: Config, *, seed: int = 0, method: str = "magnitude") -> Job:
    """A finished ticket of `write_mask`."""
    ticket = job(config, "ticket", seed=seed, method=method)
    fingerprint = expected_ticket_fingerprint(ticket, mask_for(ticket, {}))
    write_arrays(ticket.files.agent, {"params.actor.layer_0.kernel": np.zeros((3, 16), np.float32)})
    write_bytes(ticket.files.metrics, b'{"kind": "evaluation", "env_steps": 300, "return": -1000.0}\n')
    _write_manifest(ticket, fingerprint, ("agent.safetensors", "metrics.jsonl", "mask.pkl"))
    return ticket


def write_record(of: Job, env_steps: int, sittings: Sequence[Session] = ()) -> None:
    """What a checkpoint of an unfinished run says of itself, without the files that it names."""
    if of.stage == "dense":
        fingerprint = dense_fingerprint(of.config, of.task, of.seed)
    else:
        fingerprint = expected_ticket_fingerprint(of, mask_for(of, {}))
    record: CheckpointRecord = {
        "format_version": MANIFEST_FORMAT,
        "fingerprint": fingerprint,
        "env_steps": env_steps,
        "episodes": 1,
        "files": {},
        "segments": [(0, env_steps)],
        "generators": {},
        "losses": {"sums": {}, "updates": 0, "last": {}, "seconds": 0.0},
        "episode": {"ended": {}, "episodes": 0, "wrote_at": 0},
        "metrics": (0, "0" * 64),
        "seconds": 1.0,
        "sittings": list(sittings),
        "written": 1,
        "cost": 0.1,
    }
    write_sealed(record_path(of.files, env_steps), record)


def write_untrained(config: Config, *returns: float, policies: int | None = None) -> Job:
    """The scores of untrained policies of the config's first task, as many as were asked for unless `policies` says."""
    made = Job(config, UNTRAINED, 0, OF_TASK)
    fingerprint = untrained_fingerprint(config, made.task)
    successes: list[float | None] = [None] * len(returns)
    scores = UntrainedScores(fingerprint, policies or len(returns), list(returns), successes, {})
    record.write_untrained(made.untrained_files, made.task.id, scores)
    return made


def planned_runs(config: Config, method: str | None, stages: Sequence[str]) -> list[Tracked]:
    """The plan, without the untrained policies of its tasks."""
    return [tracked for tracked in plan_study(config, method, stages) if tracked.job.stage != UNTRAINED]


def write_study(config: Config, *, method: str = "magnitude") -> None:
    """Every run of the config's first task, done."""
    for seed in config.seeds:
        write_dense(config, seed=seed)
        write_mask(config, seed=seed, method=method)
        write_ticket(config, seed=seed, method=method)


def mask_for(of: Job, fingerprint: Fingerprint) -> Mask:
    """A mask by the size of the initial weights, at the sparsity of the job's arm."""
    initial = initial_kernels(of)
    arm = of.ticket_arm
    assert arm.sparsity is not None
    groups = {
        group: prune({path: np.abs(kernel) for path, kernel in layers.items()}, arm.sparsity[group])
        for group, layers in initial.items()
    }
    return make_mask(
        groups,
        task=of.task.id,
        seed=of.seed,
        method=arm.method or "listed",
        criterion=arm.recipe.criterion or "",
        estimator=None,
        sparsity=arm.sparsity,
        fingerprint=fingerprint,
    )


def shown(renderable: RenderableType, width: int = 120) -> str:
    """What a console without colours prints."""
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `folder`, its bytes and when it was last written; not what Python compiled."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__"
    }


def change_manifest(run: RunFiles, /, **changes: Any) -> None:
    """Write a run's manifest again, with other values."""
    write_manifest(run, cast(Manifest, {**(read_manifest(run) or {}), **changes}))


def forget_spaces(run: RunFiles) -> None:
    """Make a run one of a version that recorded no bounds of actions, so that its environment is needed for them."""
    manifest = {key: value for key, value in (read_manifest(run) or {}).items() if key != "spaces"}
    write_manifest(run, cast(Manifest, manifest))


def _write_manifest(of: Job, fingerprint: Fingerprint, names: tuple[str, ...], **facts: Any) -> None:
    manifest: Manifest = {
        "format_version": MANIFEST_FORMAT,
        "status": "done",
        "seconds": 1.5,
        "fingerprint": fingerprint,
        "files": {name: file_entry(of.files.folder / name) for name in names},
    }
    write_manifest(of.files, cast(Manifest, manifest | facts))
