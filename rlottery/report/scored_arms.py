"""The scores of arms that one figure shows: the ends of their axis, and the numbers of the figure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlottery.analysis.scores import Estimate
from rlottery.report import panels
from rlottery.report.arm_styles import Look
from rlottery.report.figure_data import Block, Place
from rlottery.report.wording import BOOTSTRAP


@dataclass(frozen=True)
class ScoredArms:
    """Scores of arms.

    Attributes:
        arms: name, estimate, score of each seed, and number of seeds or runs.
        untrained: mean score of untrained policies; untrained_n: how many they are.
        label: of the axis.
        column: of the data; words: what a value is; n_of: what the estimates are means over.
        same: columns of the data that all rows have.
        share: whether 1 is the whole.
    """

    arms: Sequence[tuple[str, Estimate, Mapping[int, float], int]]
    untrained: float | None
    untrained_n: int
    label: str
    column: str
    words: str
    n_of: str
    same: Mapping[str, Any]
    share: bool

    def limits(self, estimates: Iterable[Estimate], seeds: Iterable[float]) -> tuple[tuple[float, float], bool]:
        """The ends of the axis of scores, and whether the untrained agents are between them."""
        ends = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
        ends += [*seeds, *([1.0] if self.share else [])]
        # The axis includes the untrained agents where that leaves half of it to the arms.
        untrained = self.untrained
        if untrained is not None and 2 * np.ptp(ends) >= np.ptp([*ends, untrained]):
            return panels.padded([*ends, untrained], 0.04), True
        return panels.padded(ends, 0.04), False

    def blocks(
        self,
        looks: Mapping[str, Look],
        means: Mapping[str, Place],
        seeds: Mapping[str, Place],
        untrained: Place,
        *,
        near: bool,
        upright: bool,
    ) -> list[Block]:
        """The numbers of the figure: of each arm its seeds, then its mean.

        Args:
            looks: of the arms.
            means: arm -> its place on the other axis than that of scores. Arms without one are left out.
            seeds: the same for single seeds. Those of an arm without one are not drawn.
            untrained: the place of untrained agents. near: whether they are drawn.
            upright: whether scores are on the vertical axis.
        """
        found, column = [], self.column
        value = f"{{{column}:v}} {self.words}"

        def block(
            where: tuple[int, ...], same: Mapping[str, Any], each: Mapping[str, Any], at: Place, words: str
        ) -> Block:
            x, y = (at, column) if upright else (column, at)
            return Block(where, {**self.same, **same}, each, x, y, words)

        for arm, mean, of_seeds, n in self.arms:
            if arm not in means or arm not in looks:
                continue
            same = {"arm": arm, "sparsity": looks[arm].sparsity}
            if of_seeds:
                each = {"seed": tuple(of_seeds), column: tuple(of_seeds.values())}
                words = f"{{arm}}, seed {{seed}}: {value}"
                where = (0,) if arm in seeds else ()
                found.append(block(where, {**same, "statistic": "seed"}, each, seeds.get(arm), words))
            has_interval = mean.low is not None and mean.high is not None
            interval = f" [{BOOTSTRAP} {{low:v}} to {{high:v}}]" if has_interval else ", no interval"
            words = f"{{arm}}, mean of n = {{n}} {self.n_of}: {value}{interval}"
            ends = {column: (mean.value,), "low": (mean.low,), "high": (mean.high,)}
            found.append(block((0,), {**same, "statistic": "mean", "n": n}, ends, means[arm], words))
        if self.untrained is not None:
            same = {"arm": "untrained", "statistic": "mean", "n": self.untrained_n}
            words = f"untrained, mean of n = {{n}} policies: {value}"
            found.append(block((0,) if near else (), same, {column: (self.untrained,)}, untrained, words))
        return found
