"""The model card: what the agent or the study is, its verdict, and how to load it; with the metadata of the Hub."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from rlottery.agents.algorithms import algorithm_of
from rlottery.analysis.runs import Metric, Run, read_runs
from rlottery.analysis.scores import TaskScores
from rlottery.config import Config
from rlottery.hub.bundle import Bundle
from rlottery.hub.names import CHECKSUMS
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.summary import Summary, summarise
from rlottery.report.table_formats import escaped, table_lines
from rlottery.report.wording import METRIC_NAMES, last_evaluations
from rlottery.storage.paths import DENSE, Store
from rlottery.version import __version__

LICENSES = ("unknown", "apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0", "other")
UNKNOWN = "unknown"


def model_card(bundle: Bundle, repository: str, license: str = UNKNOWN) -> str:
    """The model card as Markdown with YAML metadata.

    Args:
        repository: its name on the Hub.
        license: its identifier on the Hub.
    """
    contents = None if bundle.config is None else collect(Store(bundle.data), bundle.config)
    summary = None if contents is None else summarise(contents)
    title = _title(bundle, contents)
    lines = [f"# {escaped(title)}", "", *_what_it_is(bundle)]
    if bundle.film is not None:
        lines += [f'<video src="{bundle.film}" controls muted loop></video>', ""]
    if bundle.run is not None:
        lines += ["## The agent", "", *_agent_table(bundle, contents), ""]
    lines += _verdict(summary)
    lines += ["## Loading it", "", *_loading(bundle, repository)]
    lines += ["## License", "", _license_line(license), ""]
    lines += ["## Files", "", *_files(bundle)]
    head = yaml.safe_dump(_metadata(bundle, contents, license, title), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n" + "\n".join(lines).rstrip("\n") + "\n"


def _title(bundle: Bundle, contents: Contents | None) -> str:
    if bundle.run is None:
        assert contents is not None
        return f"{contents.title}: a study of lottery tickets in reinforcement learning"
    run = bundle.run
    kind = "dense agent" if run.arm == DENSE else f"sparse agent {run.arm}"
    return f"{run.task.id}: {run.algorithm.label}, {kind}, seed {run.seed}"


def _what_it_is(bundle: Bundle) -> list[str]:
    whole = "A study" if bundle.run is None else "An agent of a study"
    return [
        f"{whole} that was made with rlottery, which finds lottery tickets in reinforcement-learning agents: sparse "
        "subnetworks that match the dense agent when they are rewound to their initial weights and trained alone.",
        "",
    ]


def _agent_table(bundle: Bundle, contents: Contents | None) -> Iterator[str]:
    run = bundle.run
    assert run is not None
    manifest = run.manifest
    rows = {"Task": run.task.id, "Algorithm": run.algorithm.label, "Arm": run.arm, "Seed": str(run.seed)}
    if (found := _run_of(bundle, contents)) is not None and (score := _score(found, bundle.config)) is not None:
        metric, value, last = score
        rows[f"{_capital(metric)}, {last}"] = f"{value:,.4g}"
    for name, key in (("Sparsity", "sparsity"), ("Effective sparsity", "effective")):
        shares: Any = manifest.get(key)
        if shares:
            rows[name] = ", ".join(f"{group} {100 * share:.4g} %" for group, share in shares.items())
    if run.arm == DENSE:
        rows["Sparsity"] = "0 %: no weight is pruned"
    rows |= {"Environment steps": f"{manifest['env_steps']:,}"} if "env_steps" in manifest else {}
    rows["SHA-256 of agent.safetensors"] = run.digest
    yield from ("| | |", "|---|---|")
    for name, text in rows.items():
        yield f"| {escaped(name)} | {escaped(text)} |"


_METRIC_TYPES: dict[Metric, str] = {"return": "mean_reward", "success": "success_rate"}
"""What the Hub calls the metrics."""


def _run_of(bundle: Bundle, contents: Contents | None) -> Run | None:
    run = bundle.run
    if run is None or contents is None:
        return None
    of_seed = read_runs(Store(bundle.data), run.task.name, [run.seed])
    return next((one for one in of_seed if one.arm == run.arm), None)


def _score(run: Run, config: Config | None) -> tuple[Metric, float, str] | None:
    """Metric and mean of the last evaluations, and how many they are; None if there are none or the run has failed."""
    if config is None or not run.evaluations or run.status != "done":
        return None
    last = run.evaluations[-config.evaluation.score_evaluations :]
    metric: Metric = "success" if all("success" in one.scores for one in last) else "return"
    mean = sum(one.scores[metric] for one in last) / len(last)
    return metric, mean, last_evaluations(len(last))


def _capital(metric: Metric) -> str:
    return METRIC_NAMES[metric].capitalize()


def _verdict(summary: Summary | None) -> list[str]:
    if summary is None:
        return ["## Verdict", "", "Unknown: the study that this run belongs to is not here.", ""]
    lines = ["## Verdict of the study", "", *(part for line in summary.verdict for part in (escaped(line), ""))]
    if summary.evidence.rows:
        lines += [*table_lines(summary.evidence), ""]
    lines += [part for line in summary.limits for part in (escaped(line), "")]
    for task in summary.tasks:
        lines += [f"### {escaped(task.task)}", "", escaped(task.measured), "", *table_lines(task.table), ""]
    return [*lines, *(f"- {escaped(line)}" for line in summary.key), ""]


def _loading(bundle: Bundle, repository: str) -> list[str]:
    folder = repository.rpartition("/")[2]
    lines = ["```bash", "pip install 'rlottery[hub]'", f"rlottery pull {repository} --to {folder}", "```", ""]
    if bundle.run is None:
        lines += ["```python", "import rlottery", "", f"study = rlottery.load_study({folder!r})", "```", ""]
        return [*lines, f"`rlottery report {folder}` draws the page again.", ""]
    place = f"{folder}/runs/{bundle.run.task.name}/seed_{bundle.run.seed}/{bundle.run.arm}"
    lines += ["```python", "import rlottery", "", f"policy = rlottery.load_agent({place!r})"]
    lines += ["action = policy(observation)", "```", ""]
    return [*lines, "`policy.npz` needs only NumPy, and `rlottery.load_agent` reads it too.", ""]


def _license_line(license: str) -> str:
    if license == UNKNOWN:
        return "Whoever uploaded this has not chosen a license."
    return f"`{license}`"


def _files(bundle: Bundle) -> list[str]:
    sizes = bundle.sizes()
    if len(sizes) > 40:
        total = sum(sizes.values())
        return [f"{len(sizes):,} files of {total:,} bytes. `{CHECKSUMS}` has their SHA-256 checksums.", ""]
    lines = ["| file | bytes |", "|---|--:|", *(f"| {escaped(name)} | {size:,} |" for name, size in sizes.items())]
    return [*lines, "", f"`{CHECKSUMS}` has the SHA-256 checksums of the others. Made by rlottery {__version__}.", ""]


def _metadata(bundle: Bundle, contents: Contents | None, license: str, title: str) -> dict[str, Any]:
    """What the Hub reads of a card."""
    tags = ["reinforcement-learning", "lottery-ticket-hypothesis", "pruning", "sparsity"]
    tasks = [bundle.run.task.id] if bundle.run is not None else [] if contents is None else _tasks(contents.scores)
    label = bundle.run.algorithm.label if bundle.run is not None else None
    if label is None and bundle.config is not None:
        label = algorithm_of(bundle.config).label
    tags += [*tasks, *([label] if label else [])]
    found: dict[str, Any] = {
        "license": license,
        "library_name": "rlottery",
        "pipeline_tag": "reinforcement-learning",
        "tags": tags,
    }
    run = _run_of(bundle, contents)
    if bundle.run is not None and run is not None and (score := _score(run, bundle.config)) is not None:
        metric, value, last = score
        result = {
            "task": {"type": "reinforcement-learning", "name": "Reinforcement learning"},
            "dataset": {"type": bundle.run.task.id, "name": bundle.run.task.id},
            "metrics": [
                {"type": _METRIC_TYPES[metric], "name": f"{_capital(metric)}, {last}", "value": round(value, 6)}
            ],
        }
        found["model-index"] = [{"name": title, "results": [result]}]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _tasks(scores: tuple[TaskScores, ...]) -> list[str]:
    return [task.task for task in scores]
