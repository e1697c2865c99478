"""The files that finished jobs leave, written in milliseconds: no agent is trained, no environment is made.

Names, formats, fingerprints and checksums are those of the stages, so every command reads such a study as any other.
Weights, scores and masks are random numbers.
"""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from benchmarks.made_studies import Sizes
from rlottery.agents.description import Shape
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import GroupMask, Mask, first_connected, make_mask
from rlottery.pruning.prune import prune
from rlottery.seeding import stream_seed
from rlottery.storage.disk import write_arrays, write_bytes
from rlottery.storage.manifests import Manifest, RunFacts, file_entry, write_manifest
from rlottery.storage.paths import REPLAY_FILES
from rlottery.storage.untrained_record import UntrainedScores, write_untrained
from rlottery.study.planning.arms import Arm, comparable_method
from rlottery.study.planning.fingerprints import (
    Fingerprint,
    dense_fingerprint,
    mask_fingerprint,
    ticket_fingerprint,
    untrained_fingerprint,
)
from rlottery.study.planning.finished_runs import manifest_head
from rlottery.study.planning.jobs import UNTRAINED, Job
from rlottery.study.planning.network_sizes import networks_of, task_spec
from rlottery.study.stages.sparsity_facts import sparsity_facts
from rlottery.study.versions import worker_versions

WARMUP_STEPS = 100
STARTED = 1_700_000_000.0
TRANSITIONS = 64
"""Transitions in a replay buffer: enough for its five files."""
GROUPS = ("actor", "critic")


class _Dense(NamedTuple):
    """SHA-256 of the files that other jobs of a task and seed start from."""

    initial: str
    agent: str


class FinishedJobs:
    """Does jobs by putting files in place. Jobs come after those that they need, all of them here.

    Args:
        sizes: how much there is to read in a run.
        releases: whether dense agents have no replay buffer any more, as `keep_replay: false` leaves them.

    Attributes:
        spent: seconds of the processor in `apart`.
    """

    def __init__(self, sizes: Sizes, *, releases: bool):
        self._sizes, self._releases = sizes, releases
        self._dense: dict[tuple[int, int], _Dense] = {}
        self._recipes: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, str] = {}
        self.spent = 0.0

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """A context whose time is `spent`."""
        began = time.process_time()
        try:
            yield
        finally:
            self.spent += time.process_time() - began

    def finish(self, job: Job) -> None:
        """Write the files of a job."""
        self._versions = self._versions or worker_versions(job.config.device)
        job.files.folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(stream_seed(*map(str, job.key)))
        if job.stage == UNTRAINED:
            self._finish_untrained(job, generator)
        elif job.stage == "dense":
            self._finish_dense(job, generator)
        elif job.stage == "mask":
            self._finish_mask(job, generator)
        else:
            self._finish_ticket(job, generator)

    def _finish_untrained(self, job: Job, generator: np.random.Generator) -> None:
        policies = job.config.evaluation.untrained_policies
        returns = generator.normal(0, 30, policies).tolist()
        fingerprint = untrained_fingerprint(job.config, job.task)
        scores = UntrainedScores(fingerprint, policies, returns, [None] * policies, self._versions)
        write_untrained(job.untrained_files, job.task.id, scores)

    def _finish_dense(self, job: Job, generator: np.random.Generator) -> None:
        files, names = job.files, ["agent.safetensors", "metrics.jsonl", "initial.safetensors"]
        write_arrays(files.initial, self._weights(job, generator))
        self._write_training(job, None, generator)
        if not self._releases:
            files.replay.mkdir(exist_ok=True)
            for name in REPLAY_FILES:
                np.save(files.folder / name, np.zeros((TRANSITIONS, 1), np.float32))
            names += REPLAY_FILES
        replay = "released" if self._releases else "saved"
        manifest = self._write_manifest(job, dense_fingerprint(job.config, job.task, job.seed), names, replay=replay)
        digests = {name: manifest["files"][name]["sha256"] for name in names}
        self._dense[job.task_index, job.seed] = _Dense(digests[files.initial.name], digests[files.agent.name])

    def _finish_mask(self, job: Job, generator: np.random.Generator) -> None:
        arm, source = job.ticket_arm, job.ticket_arm.of
        if source is None:
            groups = {group: _random_mask(job, group, generator) for group in GROUPS}
            inputs, asked = {"agent": self._dense[job.task_index, job.seed].agent}, arm.sparsity
        else:
            given = read_mask(job.store.run(job.task.name, job.seed, source.name).mask)
            draw = arm.control.draw_mask if arm.control is not None else None
            groups = given.groups if draw is None else {g: draw(of, generator) for g, of in given.groups.items()}
            inputs, asked = {"mask": given.metadata["digest"]}, source.sparsity
        mask = make_mask(
            groups,
            task=job.task.id,
            seed=job.seed,
            criterion=arm.criterion_name or arm.kind,
            sparsity=asked,
            fingerprint=mask_fingerprint(arm, job.seed, inputs),
        )
        write_bytes(job.files.mask, mask_to_bytes(mask))

    def _finish_ticket(self, job: Job, generator: np.random.Generator) -> None:
        arm, names = job.ticket_arm, ["agent.safetensors", "metrics.jsonl"]
        inputs = {"initial": self._dense[job.task_index, job.seed].initial}
        facts: dict[str, Any] = {"criterion": arm.criterion_name or arm.kind, "recipe": self._recipe(arm)}
        if (method := comparable_method(arm)) is not None:
            facts["method"] = method
        mask = None
        if "mask" in arm.stages:
            mask = read_mask(job.files.mask)
            inputs["mask"] = mask.metadata["digest"]
            facts |= {"criterion": mask.metadata["criterion"], **sparsity_facts(mask)}
            names.append(job.files.mask.name)
        self._write_training(job, mask, generator)
        fingerprint = ticket_fingerprint(job.config, job.task, job.seed, arm, inputs)
        self._write_manifest(job, fingerprint, names, **facts)

    def _write_training(self, job: Job, mask: Mask | None, generator: np.random.Generator) -> None:
        """The trained agent and the metrics of a run. Its scores fall with its sparsity."""
        weights = self._weights(job, generator)
        for path, kept in ({} if mask is None else mask.all_layers).items():
            weights[f"{path}.kernel"] *= kept
        critic = {name: array for name, array in weights.items() if name.startswith("critic")}
        moments = {
            f"optimizer.{group}.0.{moment}.{name.removeprefix(f'{group}.')}": array
            for group in GROUPS
            for moment in ("mu", "nu")
            for name, array in weights.items()
            if name.startswith(f"{group}.")
        }
        agent = {f"params.{name}": array for name, array in weights.items()} | moments
        agent |= {f"target_{name}": array for name, array in critic.items()}
        agent |= {f"optimizer.{part}.0.count": np.zeros((), np.int32) for part in (*GROUPS, "temperature")}
        agent |= {f"optimizer.temperature.0.{moment}": np.zeros((), np.float32) for moment in ("mu", "nu")}
        agent |= {"log_temperature": np.zeros((), np.float32), "key": np.zeros(2, np.uint32)}
        write_arrays(job.files.agent, agent)
        sparsity = 0.0 if mask is None else mask.metadata["sparsity_reached"]["actor"]
        write_bytes(job.files.metrics, "".join(_metrics(self._sizes, sparsity, generator)).encode())
        job.log.touch()

    def _weights(self, job: Job, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Random weights of the agent's networks, by their names in files."""
        found = {}
        for group, path, shape in _layers(job):
            found[f"{group}.{path}.kernel"] = generator.normal(0, 0.1, shape).astype(np.float32)
            found[f"{group}.{path}.bias"] = np.zeros(shape[1], np.float32)
        return found

    def _recipe(self, arm: Arm) -> dict[str, Any]:
        if arm.name not in self._recipes:
            self._recipes[arm.name] = arm.as_dict()
        return self._recipes[arm.name]

    def _write_manifest(self, job: Job, fingerprint: Fingerprint, names: Sequence[str], **facts: Any) -> Manifest:
        spec = task_spec(job.task)
        manifest: Manifest = {
            **manifest_head(job, "done", fingerprint),
            "env_steps": job.env_steps,
            "versions": self._versions,
            "started": STARTED,
            "seconds": 600.0,
            "sittings": [{"started": STARTED, "env_steps": 0, "notes": [], "versions": self._versions}],
            "checkpoints": {"written": 5, "seconds": 0.5},
            "files": {name: file_entry(job.files.folder / name) for name in names},
            "spaces": {
                "observation_size": spec.observation_size,
                "action_low": [-1.0] * spec.action_size,
                "action_high": [1.0] * spec.action_size,
            },
        }
        write_manifest(job.files, {**manifest, **cast(RunFacts, facts)})
        return manifest


def _layers(job: Job) -> Iterator[tuple[str, str, Shape]]:
    """Group, path and shape of each layer of the job's agent."""
    for network in networks_of(job.config, job.task, task_spec(job.task)):
        for path, shape in network.layers.items():
            yield network.group, path, shape


def _random_mask(job: Job, group: str, generator: np.random.Generator) -> GroupMask:
    """A group of the job's mask, at its arm's sparsity, from random scores."""
    arm, shapes = job.ticket_arm, {path: shape for of, path, shape in _layers(job) if of == group}
    assert arm.sparsity is not None
    share = arm.sparsity[group]
    scores = ({path: generator.random(shape) for path, shape in shapes.items()} for _ in itertools.count())
    return first_connected(lambda: prune(next(scores), share, twins=arm.twins, group=group))


def _metrics(sizes: Sizes, sparsity: float, generator: np.random.Generator) -> Iterator[str]:
    """The lines of a run's metrics. Its returns rise, to less with fewer weights."""
    means = 1_000 * (1 - sparsity**8) * (1 - np.exp(-5 * np.arange(sizes.evaluations + 1) / sizes.evaluations))
    returns = means[:, None] + generator.normal(0, 30, (len(means), sizes.episodes)) + generator.normal(0, 20)
    lengths = [200] * sizes.episodes
    for number, (mean, of_episodes) in enumerate(zip(returns.mean(1).tolist(), returns.tolist(), strict=True)):
        env_steps = sizes.interval * number
        if number:
            row = {"kind": "episode", "env_steps": env_steps, "return": mean, "length": 200.0, "episodes": 5}
            yield f"{json.dumps(row)}\n"
        if number and env_steps > WARMUP_STEPS:
            losses = {"actor_loss": -1.0, "critic_loss": 1.0, "entropy": 0.5, "temperature": 0.1}
            row = {"kind": "losses", "env_steps": env_steps, **losses, "updates_per_second": 300.0}
            yield f"{json.dumps(row)}\n"
        scores = {"return": mean, "returns": of_episodes, "lengths": lengths, "seconds": 1.0}
        yield f"{json.dumps({'kind': 'evaluation', 'env_steps': env_steps, **scores})}\n"
