"""What no network of a task can give, found before anything starts."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.config import Config, config_to_dict
from rlottery.config.fields import MAX_LAYERS
from rlottery.errors import RlotteryError, StudyError
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import make_mask
from rlottery.storage.disk import write_bytes
from rlottery.study.planning.arms import arms_of
from rlottery.study.planning.checks import check_arms
from rlottery.study.planning.jobs import STAGES
from rlottery.study.planning.plan import plan_study
from tests.study.studies import contents, tiny_config

# Of Pendulum-v1, 3 observations and 1 action: the actor's layers have 48, 256 and 32 weights, 336 in all.
MAG = {"name": "mag", "criterion": "magnitude", "sparsity": 0.8}


def study(folder: Path, *arms: dict[str, Any], overrides: tuple[str, ...] = ()) -> Config:
    plain = config_to_dict(tiny_config(folder, *overrides))
    del plain["pruning"]
    return Config.model_validate({**plain, "arms": arms})


def refused(config: Config) -> str:
    """The message of the refusal, which must leave the files alone."""
    before = contents(config.data.parent)
    with pytest.raises(StudyError) as caught:
        plan_study(config, None, STAGES)
    assert contents(config.data.parent) == before
    return str(caught.value)


def groups_of(hidden: int) -> dict[str, dict[str, np.ndarray]]:
    layers = {
        "actor": [("layer_0", (3, hidden)), ("layer_1", (hidden, hidden)), ("layer_2", (hidden, 2))],
        "critic": [
            (f"{twin}.layer_{index}", shape)
            for twin in ("q1", "q2")
            for index, shape in enumerate([(4, hidden), (hidden, hidden), (hidden, 1)])
        ],
    }
    return {group: {name: np.ones(shape, bool) for name, shape in of} for group, of in layers.items()}


def mask_file(path: Path, groups: dict[str, dict[str, np.ndarray]]) -> None:
    write_bytes(path, mask_to_bytes(make_mask(groups, task="Pendulum-v1", seed=0)))


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        # 336 - floor(0.995 * 336 + 1/2) = 2 weights, and 3 layers
        (
            {"criterion": "magnitude", "sparsity": 0.995},
            "Arm magnitude-99.5 on Pendulum-v1: actor: A sparsity of 0.995 leaves 2 of 336 weights, but each layer "
            "keeps at least 1, in all 3 (layer_0, layer_1, layer_2). Use a sparsity of at most 0.991071.",
        ),
        (
            {"schedule": {"rigl": {"interval": 9}}, "sparsity": {"actor": 0.5, "critic": 0.9999}},
            "Arm rigl-a50-c99.99 on Pendulum-v1: critic: A sparsity of 0.9999 leaves 0 of 672 weights",
        ),
        (
            {"criterion": "magnitude", "sparsity": 0.9, "floor": 12},
            "Arm magnitude-90 on Pendulum-v1: actor: A sparsity of 0.9 leaves 34 of 336 weights, but each layer "
            "keeps at least 12, in all 36 (layer_0, layer_1, layer_2). Use a sparsity of at most 0.892857.",
        ),
        # One unit in each hidden layer: 3 + 1 + 2 weights
        (
            {"criterion": "magnitude", "sparsity": 0.99, "structure": "units"},
            "Arm magnitude-99-units on Pendulum-v1: actor: A sparsity of 0.99 leaves 3 of 336 weights, but each hidden "
            "layer keeps at least 1 of its units, in all 6 weights (layer_0, layer_1, layer_2).",
        ),
        (
            {"criterion": "magnitude", "sparsity": 0.995, "schedule": "iterative"},
            "Arm iterative-magnitude-99.5 on Pendulum-v1: actor: A sparsity of 0.995 leaves 2 of 336 weights",
        ),
    ],
)
def test_floors_that_leave_no_such_sparsity(tmp_path: Path, arm: dict[str, Any], message: str) -> None:
    assert refused(study(tmp_path, arm)).startswith(message)


@pytest.mark.parametrize(
    "arm",
    [
        {"criterion": "magnitude", "sparsity": 0.991},
        {"criterion": "magnitude", "sparsity": 0, "floor": 10**6},
        {"criterion": "magnitude", "sparsity": {"actor": 0, "critic": 0.9}},
        {"criterion": "magnitude", "allocation": {"actor": [0, 0.9, 0], "critic": [0.9999, 0.5, 0.5]}},
        {"criterion": "wanda", "sparsity": 0.98, "structure": "units"},
        {"criterion": "wanda", "sparsity": 0.5, "structure": "units", "allocation": "uniform"},
    ],
)
def test_what_is_possible_passes(tmp_path: Path, arm: dict[str, Any]) -> None:
    config = study(tmp_path, arm)
    check_arms(config, arms_of(config, None))


@pytest.mark.parametrize(
    "ticket",
    [
        {"name": "t", "criterion": "magnitude", "sparsity": 0.985},
        # 1 of 48 by the floor, 3 of 256, and 1 of 32
        {"name": "t", "criterion": "magnitude", "allocation": {"actor": [0.999, 0.99, 0.99], "critic": [0, 0, 0]}},
    ],
)
def test_no_dense_network_is_that_small(tmp_path: Path, ticket: dict[str, Any]) -> None:
    message = refused(study(tmp_path, ticket, {"control": "small-dense", "of": "t"}))
    assert message == (
        "Arm small-dense-of-t on Pendulum-v1: actor: No dense network is as small as 5 weights: with 3 inputs, 2 "
        "outputs and 1 unit in each of 2 hidden layers it has 6. Use a lower sparsity, or leave the small dense "
        "control out."
    )


def test_networks_whose_masks_could_not_be_saved(tmp_path: Path) -> None:
    # 3 x 16360 + 16360 x 16360 + 16360 x 2 weights of the actor, and 672 of the critics
    message = refused(study(tmp_path, MAG, overrides=("network.actor=[16360, 16360]",)))
    assert message == (
        "network: on Pendulum-v1, the agent's networks have 267,732,072 weights, and a mask file holds at most "
        "267,386,880. Lower the widths in network.actor or network.critic."
    )


def test_the_deepest_networks_have_masks_that_can_be_read(tmp_path: Path) -> None:
    layers = {f"layer_{i}": np.ones((1, 1), bool) for i in range(MAX_LAYERS + 1)}
    twins = {f"{twin}.{name}": layer for twin in ("q1", "q2") for name, layer in layers.items()}
    mask_file(tmp_path / "mask.pkl", {"actor": layers, "critic": twins})
    assert len(read_mask(tmp_path / "mask.pkl").all_layers) == 3 * (MAX_LAYERS + 1)


def test_sparse_training_that_would_change_nothing(tmp_path: Path) -> None:
    arm = {"schedule": {"set": {"interval": 9, "drop": 0.001}}, "sparsity": 0.6}
    message = refused(study(tmp_path, arm))
    assert message.startswith("Arm set-60 on Pendulum-v1: schedule.set.drop of 0.001 would drop no weight, because no")
    least = float(message.split("at least ")[1][:-1])
    arm["schedule"] = {"set": {"interval": 9, "drop": least}}
    config = study(tmp_path, arm)
    check_arms(config, arms_of(config, None))


def test_masks_of_a_task_with_other_shapes(tmp_path: Path) -> None:
    transfer = {"name": "t", "transfer": {"task": "Pendulum-v1"}, "of": "mag"}
    config = study(tmp_path, MAG, transfer, overrides=("tasks=[Pendulum-v1, MountainCarContinuous-v0]",))
    assert refused(config) == (
        "Arm t on MountainCarContinuous-v0: the mask of Pendulum-v1 doesn't fit. actor: The mask of layer 'layer_0' "
        "has shape (3, 16), but the network's kernel has shape (2, 16). A mask fits only networks with the inputs and "
        "widths that it was made for."
    )


class TestMaskFiles:
    def config(self, folder: Path, name: str) -> Config:
        return study(folder, {"name": "t", "transfer": {"file": str(folder / name)}})

    def test_of_the_right_shapes(self, tmp_path: Path) -> None:
        mask_file(tmp_path / "Pendulum-v1_0.pkl", groups_of(16))
        config = self.config(tmp_path, "{task}_{seed}.pkl")
        check_arms(config, arms_of(config, None))

    def test_from_another_tool(self, tmp_path: Path) -> None:
        layers = {f"{group}.{path}": layer for group, of in groups_of(16).items() for path, layer in of.items()}
        np.savez(tmp_path / "mask.npz", **layers)
        config = self.config(tmp_path, "mask.npz")
        check_arms(config, arms_of(config, None))
        np.savez(tmp_path / "turned.npz", **layers | {"actor.layer_0": layers["actor.layer_0"].T})
        assert refused(self.config(tmp_path, "turned.npz")).endswith(
            "has shape (3, 16). It looks transposed: rows must be inputs, and columns units."
        )

    def test_of_other_shapes(self, tmp_path: Path) -> None:
        mask_file(tmp_path / "mask.pkl", groups_of(8))
        assert refused(self.config(tmp_path, "mask.pkl")) == (
            f"Arm t on Pendulum-v1: {tmp_path}/mask.pkl doesn't fit: actor: The mask of layer 'layer_0' has shape "
            "(3, 8), but the network's kernel has shape (3, 16). A mask fits only networks with the inputs and widths "
            "that it was made for."
        )

    def test_in_the_order_of_names(self, tmp_path: Path) -> None:
        # Deep networks of units of one width: only the names tell the order.
        plain = [f"network.{group}=[{', '.join(['4'] * 11)}]" for group in ("actor", "critic")]
        config = study(
            tmp_path, {"name": "t", "transfer": {"file": str(tmp_path / "mask.pkl")}}, overrides=tuple(plain)
        )
        sizes = {"actor": [3, *[4] * 11, 2], "q1": [4, *[4] * 11, 1], "q2": [4, *[4] * 11, 1]}
        layers = {
            name: [np.ones(shape, bool) for shape in itertools.pairwise(widths)] for name, widths in sizes.items()
        }
        actor = {f"layer_{i}": layer for i, layer in enumerate(layers["actor"])}
        critic = {f"{twin}.layer_{i}": layer for twin in ("q1", "q2") for i, layer in enumerate(layers[twin])}
        mask_file(tmp_path / "mask.pkl", {"critic": dict(sorted(critic.items())), "actor": dict(sorted(actor.items()))})
        check_arms(config, arms_of(config, None))

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda c: c["actor"]["layer_1"].fill(False), "actor: The network is cut at layer 'layer_1': "),
            (
                lambda c: c["critic"]["q2.layer_2"].fill(False),
                "critic: The network 'q2' is cut at layer 'q2.layer_2': ",
            ),
            # The first layer only feeds units that nothing reads.
            (
                lambda c: (c["actor"]["layer_0"][:, 1:].fill(False), c["actor"]["layer_1"][0].fill(False)),
                "actor: The network is cut at layer 'layer_1': ",
            ),
            (lambda c: c["actor"].pop("layer_2"), "actor: The mask has no layer layer_2. It has layer_0, layer_1."),
            (lambda c: c["actor"].update(layer_3=np.ones((2, 2))), "actor: The mask has a layer layer_3, which"),
            (lambda c: c.pop("critic"), "The mask has no group critic. It has actor."),
            (lambda c: c.update(value=c["actor"]), "The mask has a group value, which the agent doesn't have."),
        ],
    )
    def test_that_no_agent_can_use(self, tmp_path: Path, change: Callable[[Any], object], why: str) -> None:
        groups = groups_of(16)
        change(groups)
        mask_file(tmp_path / "mask.pkl", groups)
        message = refused(self.config(tmp_path, "mask.pkl"))
        assert message.startswith(f"Arm t on Pendulum-v1: {tmp_path}/mask.pkl") and why in message
        assert "Use a lower sparsity" not in message

    def test_units_without_inputs_or_outputs_are_fine(self, tmp_path: Path) -> None:
        groups = groups_of(16)
        groups["actor"]["layer_0"][:, :3] = False
        groups["critic"]["q1.layer_1"][3:] = False
        mask_file(tmp_path / "mask.pkl", groups)
        config = self.config(tmp_path, "mask.pkl")
        check_arms(config, arms_of(config, None))

    def test_of_every_seed(self, tmp_path: Path) -> None:
        groups = groups_of(16)
        mask_file(tmp_path / "0.pkl", groups)
        groups["actor"]["layer_2"][:] = False
        mask_file(tmp_path / "1.pkl", groups)
        config = study(
            tmp_path, {"name": "t", "transfer": {"file": str(tmp_path / "{seed}.pkl")}}, overrides=("seeds=[0, 1]",)
        )
        assert f"{tmp_path}/1.pkl: actor: The network is cut at layer 'layer_2'" in refused(config)

    def test_of_controls(self, tmp_path: Path) -> None:
        groups = groups_of(16)

        def planned(control: str) -> Config:
            mask_file(tmp_path / "mask.pkl", groups)
            given = {"name": "t", "transfer": {"file": str(tmp_path / "mask.pkl")}}
            return study(tmp_path, given, {"name": "c", "control": control, "of": "t"})

        nothing = "Arm c on Pendulum-v1: t prunes nothing, so random would have the same mask."
        assert refused(planned("random")) == nothing
        groups["actor"]["layer_1"][:, 1:] = False  # whole units
        groups["actor"]["layer_2"][1:] = False
        assert "shuffled moves single weights, and t prunes whole units" in refused(planned("shuffled"))
        groups["actor"]["layer_1"][1:, 0] = False  # and single weights
        assert "inverted needs the scores of a one-shot mask, and t has none." in refused(planned("inverted"))
        for control in ("random", "random-erk", "shuffled", "first-layer", "fresh-weights", "small-dense"):
            config = planned(control)
            check_arms(config, arms_of(config, None))
        groups["critic"]["q1.layer_2"][1:] = groups["critic"]["q2.layer_2"][1:] = False
        groups["actor"]["layer_1"][:] = groups["actor"]["layer_2"][:] = True
        assert "c on Pendulum-v1: t prunes only the critics' last layer" in refused(planned("shuffled"))

    def test_that_are_missing(self, tmp_path: Path) -> None:
        assert refused(self.config(tmp_path, "{task}_{seed}.pkl")) == (
            f"Arm t on Pendulum-v1: there is no file {tmp_path}/Pendulum-v1_0.pkl, "
            "which transfer.file gives for seed 0."
        )

    @pytest.mark.parametrize(
        ("content", "why"), [(b"", "it is empty"), (b"junk", "it is not a pickle of protocol 3, 4 or 5")]
    )
    def test_that_are_none(self, tmp_path: Path, content: bytes, why: str) -> None:
        (tmp_path / "mask.pkl").write_bytes(content)
        start = f"Arm t on Pendulum-v1: {tmp_path}/mask.pkl can't be used as a mask: {why}."
        assert refused(self.config(tmp_path, "mask.pkl")).startswith(start)

    def test_folders(self, tmp_path: Path) -> None:
        assert "it is not a regular file" in refused(self.config(tmp_path, "."))


def test_arms_that_were_not_asked_for_may_be_impossible(tmp_path: Path) -> None:
    config = study(tmp_path, MAG, {"name": "too-much", "criterion": "magnitude", "sparsity": 0.999})
    assert [t.job.arm_name for t in plan_study(config, None, STAGES, ["mag"])] == ["dense", "mag", "mag", "untrained"]
    with pytest.raises(RlotteryError, match="Arm too-much on"):
        plan_study(config, None, STAGES)
