"""The fresh untrained policies of a task, as far as the store has all of them."""

from collections.abc import Mapping, Sequence

from rlottery.analysis.runs import Metric, Run
from rlottery.config import DEFAULT_ALGORITHM, Config
from rlottery.errors import StudyError
from rlottery.storage.manifests import algorithm_in, list_differences
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.untrained_record import UntrainedScores, read_untrained


def read_samples(
    store: Store, config: Config, runs: Mapping[str, Sequence[Run]]
) -> tuple[dict[str, UntrainedScores], tuple[str, ...]]:
    """The untrained policies of each task.

    Args:
        runs: task id -> its runs.

    Returns:
        Task id -> the scores of the first policies, as many as the config asks for, or as were asked for when they were
        evaluated if that is less; and why those of some tasks can't be used. Tasks some of whose policies have not been
        evaluated are in neither.
    """
    found: dict[str, UntrainedScores] = {}
    problems: list[str] = []
    most = config.evaluation.untrained_policies
    for task in config.tasks:
        try:
            sample = read_untrained(store.untrained(task.name))
        except StudyError as error:
            problems.append(f"{task.id}: the untrained policies can't be read: {error}")
            continue
        if sample is None or (sample := sample.first(most)) is None:
            continue
        if differences := _unlike_dense(sample, runs[task.id]):
            problems.append(
                f"{task.id}: the untrained policies are of other settings than the dense agents ({differences[0]}). "
                f"Delete {store.untrained(task.name).scores}, then run the study again."
            )
            continue
        found[task.id] = sample
    return found, tuple(problems)


def scores_of(sample: UntrainedScores, metric: Metric) -> tuple[float, ...]:
    """The score of each untrained policy in the unit of the metric. One that reported no success had none."""
    return tuple(success or 0.0 for success in sample.successes) if metric == "success" else tuple(sample.returns)


def _unlike_dense(sample: UntrainedScores, runs: Sequence[Run]) -> list[str]:
    """The settings in which untrained policies differ from the dense agents, as far as both are known."""
    dense = next((run.settings for run in runs if run.arm == DENSE and run.settings), {})
    ours = {key: value for key, value in sample.fingerprint.items() if key in dense}
    theirs = {key: dense[key] for key in ours}
    if "evaluation" in ours:
        ours["evaluation"], theirs["evaluation"] = (
            {"episodes": of["evaluation"].get("episodes")} for of in (ours, theirs)
        )
    if (algorithm := algorithm_in(dense)) is not None:
        theirs["algorithm"], ours["algorithm"] = algorithm, sample.fingerprint.get("algorithm", DEFAULT_ALGORITHM)
    return list_differences(theirs, ours, asker="the dense agents have")
