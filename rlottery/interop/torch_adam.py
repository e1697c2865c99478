"""Reads the state of Adam in a file of PyTorch."""

from collections.abc import Sequence

import numpy as np

from rlottery.interop.agent import Layers, Weights, network_arrays


class AdamState:
    """Adam's state in an optimiser's state_dict, if it has one for each of the parameters with these names."""

    def __init__(self, state: object, parameters: Sequence[str]):
        self.step: int | None = None
        self._moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        found = state.get("state") if isinstance(state, dict) else None
        if not isinstance(found, dict) or not set(range(len(parameters))) <= found.keys():
            return
        steps = []
        for index, name in enumerate(parameters):
            of = found[index]
            if not isinstance(of, dict) or not {"step", "exp_avg", "exp_avg_sq"} <= of.keys():
                return
            steps.append(int(of["step"]))
            self._moments[name] = of["exp_avg"], of["exp_avg_sq"]
        self.step = max(steps, default=None)

    def pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The first and the second moment of a parameter."""
        return self._moments[name]

    def arrays(self, group: str, layers: Layers) -> dict[str, np.ndarray]:
        """Adam's state of a group of networks, by the names of a saved agent. Empty if the file has none."""
        if self.step is None:
            return {}
        arrays: dict[str, np.ndarray] = {f"optimizer.{group}.0.count": np.array(self.step, np.int32)}
        for index, moment in enumerate(("mu", "nu")):
            tensors = {name: of[index] for name, of in self._moments.items()}
            own = {
                place.replace(f"params.{group}", f"optimizer.{group}.0.{moment}"): of for place, of in layers.items()
            }
            arrays |= network_arrays(Weights(tensors), own)
        return arrays
