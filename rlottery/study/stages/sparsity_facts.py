"""What the manifest of a run records about its mask."""

from rlottery.pruning.effective import mean_rank_one
from rlottery.pruning.masks import Mask, effective_of, rank_one_of
from rlottery.storage.manifests import RunFacts


def sparsity_facts(mask: Mask) -> RunFacts:
    """What the manifest records about a mask."""
    kept = {group: effective_of(layers) for group, layers in mask.groups.items()}
    facts: RunFacts = {
        "sparsity": mask.metadata["sparsity_reached"],
        "effective": {group: of.sparsity for group, of in kept.items()},
        "units": {
            group: [sum(counts) for counts in zip(*of.units.values(), strict=True)] or [0, 0]
            for group, of in kept.items()
        },
    }
    shares = {
        group: mean_rank_one((rank_one_of(mask, group, path), layer.size) for path, layer in layers.items())
        for group, layers in mask.groups.items()
    }
    if known := {group: share for group, share in shares.items() if share is not None}:
        facts["rank_one"] = known
    return facts
