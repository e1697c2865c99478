"""Small networks, scores and masks that the tests of this folder share."""

import itertools

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlottery.pruning.allocation import allocate_global
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.masks import GroupMask, Mask, make_mask, select
from rlottery.pruning.prune import prune
from rlottery.pruning.structured import prune_units


@st.composite
def groups_of_scores(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """One to four matrices of any small shape, with massive ties or all zero in many draws."""
    elements = draw(
        st.sampled_from(
            [
                st.just(0.0),
                st.sampled_from([0.0, 1.0]),
                st.integers(0, 5).map(float),
                st.floats(0, 1, width=32),
            ]
        )
    )
    shapes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4))
    return {f"layer_{i}": draw(hnp.arrays(np.float32, shape, elements=elements)) for i, shape in enumerate(shapes)}


def network(*widths: int, prefix: str = "", seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        f"{prefix}layer_{i}": rng.normal(size=shape).astype(np.float32)
        for i, shape in enumerate(itertools.pairwise(widths))
    }


def sizes(kernels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores of magnitude pruning."""
    return {path: np.abs(kernel) for path, kernel in kernels.items()}


def small_mask(seed: int = 0) -> Mask:
    actor = prune(sizes(network(3, 8, 2, seed=seed)), 0.5)
    twin = network(4, 8, 1, prefix="q1.", seed=seed) | network(4, 8, 1, prefix="q2.", seed=seed + 1)
    critic = prune(sizes(twin), 0.3)
    return make_mask(
        {"actor": actor, "critic": critic},
        task="drawer-close-v3",
        seed=seed,
        method="magnitude",
        criterion="magnitude",
        estimator=CRITERIA["magnitude"].estimator(),
        sparsity={"actor": 0.5, "critic": 0.3},
        fingerprint={"algorithm": 1, "inputs": {"dense": "ab12"}, "widths": [8], "note": None},
    )


TWINS = {path: np.abs(k) for prefix in ("q1.", "q2.") for path, k in network(6, 20, 16, 3, prefix=prefix).items()}
"""Scores of twin networks."""
TICKET = select(TWINS, allocate_global(TWINS, 0.7))
UNITS = prune_units({path: np.abs(k) for path, k in network(6, 20, 16, 3).items()}, 0.6)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def equal(a: GroupMask, b: GroupMask) -> bool:
    return list(a) == list(b) and all(np.array_equal(layer, b[path]) for path, layer in a.items())
