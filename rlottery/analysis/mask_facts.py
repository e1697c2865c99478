"""Facts about one mask: counts, shares and packed bits. Only these are held in memory, not the masks of a study."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.mask_overlap import Packed, pack
from rlottery.analysis.runs import Run
from rlottery.analysis.stability import Stability, read_stability
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.effective import check_chained, depends_on_an_input, leads_to_an_output, on_a_path
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask, by_network, rank_one_of, sparsity_of
from rlottery.pruning.starved import StarvedLayer, starved_layers
from rlottery.pruning.untaught import blind_networks
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import check_files, read_manifest
from rlottery.storage.paths import DENSE, RunFiles
from rlottery.storage.twins import twins_of_mask


@dataclass(frozen=True, eq=False)
class MaskFacts:
    """Facts about one mask.

    Attributes:
        layers: remaining weights, those of them on a path from an input to an output, dead units and units without
            input of each layer of the agent; shape (layers, 4).
        rank_one: `rank_one_share` of each layer's scores, NaN where it is unknown; shape (layers,).
        hidden: units of each layer, 0 for output layers; shape (layers,).
        inputs: group -> share of each observation entry's weights that remain; shape (observations,).
        acting: the same for the network that chooses actions.
        saliency: as in `InputShare`; shape (observations,).
        sparsity: reached, by group.
        shares_budget: whether twin networks share a budget (`storage.twins`).
        starved: group -> its starved layers.
        blind: paths of the networks that read actions, and in which no action reaches an output.
    """

    seed: int
    packed: Packed
    layers: NDArray[np.float64]
    rank_one: NDArray[np.float64]
    hidden: tuple[int, ...]
    inputs: Mapping[str, NDArray[np.float64]]
    acting: NDArray[np.float64]
    saliency: NDArray[np.float64] | None
    sparsity: Mapping[str, float]
    stability: Stability | None
    shares_budget: bool
    starved: Mapping[str, Sequence[StarvedLayer]]
    blind: tuple[str, ...]


def weight_sizes(
    files: RunFiles, acting: str, problems: list[str], removed: list[Path]
) -> dict[str, NDArray[np.float64]]:
    """Layer path -> |w|, shape (inputs, outputs), of the network that chooses actions in a trained dense agent.

    Empty where the agent is not done, was removed or can't be read; a damaged file is added to `problems`, and the path
    of a removed one to `removed`.
    """
    try:
        manifest = read_manifest(files)
        if manifest is None or manifest["status"] != "done":
            return {}
        if not files.agent.exists():
            removed.append(files.agent)
            return {}
        check_files(files.folder, manifest["files"], files.agent.name)
        kernels = {
            name.removeprefix("params.").removesuffix(".kernel"): array
            for name, array in read_arrays(files.agent).items()
            if name.startswith(f"params.{acting}.") and array.ndim == 2
        }
    except StudyError as error:
        problems.append(str(error))
        return {}
    return {path: np.abs(array.astype(np.float64)) for path, array in kernels.items()}


def readable_masks(runs: Iterable[Run], problems: list[str]) -> Iterator[tuple[Run, Mask]]:
    """The masks of all runs that have one. Masks of unreadable runs are skipped."""
    for run in runs:
        if run.arm == DENSE or run.status == "unreadable":
            continue
        try:
            manifest = read_manifest(run.files)
            written = {} if manifest is None else manifest["files"]
            # Dense networks have none.
            if run.files.mask.exists() or run.files.mask.name in written:
                check_files(run.files.folder, written, run.files.mask.name)
                yield run, read_mask(run.files.mask)
        except (MaskError, StudyError) as error:
            problems.append(str(error))


def stability_of(run: Run, mask: Mask, problems: list[str]) -> Stability | None:
    """The stability of a run's mask, if it was measured. A damaged record is added to `problems`."""
    try:
        return read_stability(run.files, mask.metadata["digest"])
    except StudyError as error:
        problems.append(str(error))
        return None


def facts_of(
    run: Run, mask: Mask, acting: str, dense: Mapping[str, NDArray[np.float64]], stability: Stability | None
) -> MaskFacts:
    """Compute the facts about a run's mask.

    Args:
        acting: the path of the network that chooses actions.
        dense: `weight_sizes` of the dense agent with the same task and seed.

    Raises:
        MaskError: its layers do not form a network, or some network reads fewer entries than the one that acts.
    """
    layers, hidden = [], []
    first: dict[str, dict[str, NDArray[np.bool_]]] = {group: {} for group in mask.groups}
    for group, of_group in mask.groups.items():
        for prefix, network in by_network(of_group).items():
            check_chained(network)
            kept = list(network.values())
            lives, varies = leads_to_an_output(kept)[1:], depends_on_an_input(kept)[1:]
            for layer, useful, live, varying in zip(kept, on_a_path(kept), lives, varies, strict=True):
                hidden.append(0 if layer is kept[-1] else layer.shape[1])
                layers.append([np.count_nonzero(of) for of in (layer, useful, ~live, live & ~varying)])
            first[group][f"{group}.{prefix}" if prefix else group] = kept[0]
    acts = first[acting.partition(".")[0]][acting]
    entries = acts.shape[0]
    for group, networks in first.items():
        if any(layer.shape[0] < entries for layer in networks.values()):
            raise MaskError(f"its {group} reads fewer entries than its {acting}, which reads {entries}")
    # A network that reads more than the observation, such as a critic, reads the observation first.
    inputs = {
        group: np.mean([layer[:entries].mean(axis=1) for layer in networks.values()], axis=0)
        for group, networks in first.items()
    }
    return MaskFacts(
        seed=run.seed,
        packed=pack(mask.all_layers),
        layers=np.array(layers, np.float64),
        rank_one=np.array(
            [rank_one_of(mask, group, path) for group, of in mask.groups.items() for path in of], np.float64
        ),
        hidden=tuple(hidden),
        inputs=inputs,
        acting=acts.mean(axis=1),
        saliency=_saliency(acts, dense.get(next(path for path in mask.all_layers if path.startswith(f"{acting}.")))),
        sparsity={group: sparsity_of(layers) for group, layers in mask.groups.items()},
        stability=stability,
        shares_budget=twins_of_mask(mask) == "shared",
        starved={group: tuple(starved_layers(layers)) for group, layers in mask.groups.items()},
        blind=blind_networks(mask.groups, acting),
    )


def _saliency(kept: NDArray[np.bool_], sizes: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if sizes is None or sizes.shape != kept.shape or not np.isfinite(sizes).all() or not sizes.any():
        return None
    of_entry: NDArray[np.float64] = np.where(kept, sizes, 0).sum(axis=1) / sizes.sum()
    return of_entry
