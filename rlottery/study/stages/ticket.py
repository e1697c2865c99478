"""The ticket stage: train a ticket or a control from the weights and the mask that its recipe asks for."""

from collections.abc import Callable

from rlottery.agents.description import kernel_shapes, weight_count
from rlottery.config import NetworkSettings
from rlottery.config.recipes import ROUND
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import Mask
from rlottery.storage.disk import write_bytes
from rlottery.study.planning.arms import comparable_method
from rlottery.study.planning.inputs import expected_ticket_fingerprint, read_ticket_mask
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.networks import networks_of
from rlottery.study.stages.agents import spec_of
from rlottery.study.stages.masking import describe_mask
from rlottery.study.stages.run_record import RunFacts, RunResult, record_run
from rlottery.study.stages.starts import Start, start_of
from rlottery.study.stages.train_run import save_agent, train_run
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.dynamic_sparsity import masks_of
from rlottery.training.learner import Learner


def train_ticket(job: Job, stop_wanted: Callable[[], bool], make_learner: Callable[..., Learner]) -> None:
    """Train a ticket or a control: an empty buffer, a fresh optimiser, and whatever its recipe starts from."""
    mask, mask_bytes = read_ticket_mask(job) if "mask" in job.ticket_arm.stages else (None, b"")
    start = start_of(job, mask)

    def work(checkpoints: Checkpoints) -> RunResult:
        loop = train_run(job, start, checkpoints, stop_wanted, make_learner)
        names = save_agent(job, loop)
        if job.ticket_arm.recipe.is_dynamic:
            last = describe_mask(job, masks_of(loop.state), job.ticket_arm.sparsity or {})
            write_bytes(job.files.mask, mask_to_bytes(last))
            return RunResult((*names, job.files.mask.name), {"sparsity": last.metadata["sparsity_reached"]})
        if mask is not None:
            write_bytes(job.files.mask, mask_bytes)
            names = (*names, job.files.mask.name)
        return RunResult(names, {})

    record_run(job, expected_ticket_fingerprint(job, mask), _facts(job, mask, start), work)


def _facts(job: Job, mask: Mask | None, start: Start) -> RunFacts:
    """What the manifest records about a ticket, as far as it is known before training."""
    arm = job.ticket_arm
    facts: RunFacts = {"criterion": arm.criterion_name or arm.kind, "recipe": arm.as_dict()}
    if ROUND in arm.name:
        facts["round_of"] = arm.name.partition(ROUND)[0]
    if (method := comparable_method(arm)) is not None:
        facts["method"] = method
    if mask is not None:
        facts["criterion"] = mask.metadata["criterion"]
        facts["sparsity"] = mask.metadata["sparsity_reached"]
    if start.network is not None:
        facts["sparsity"] = _share_saved(job, start.network)
    return facts


def _share_saved(job: Job, small: NetworkSettings) -> dict[str, float]:
    """The share of the dense agent's kernel weights that a smaller network saves, by group."""
    dense, sparse = (kernel_shapes(networks_of(job.config, job.task, spec_of(job), widths)) for widths in (None, small))
    return {group: 1 - weight_count(sparse[group]) / weight_count(layers) for group, layers in dense.items()}
