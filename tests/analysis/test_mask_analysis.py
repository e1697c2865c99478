import weakref
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.analysis.mask_analysis import ArmMasks, MaskAnalysis, MaskOverlap, analyse_masks
from rlottery.analysis.mask_overlap import PARTNERS, Packed, overlap_between, overlap_within, pack
from rlottery.analysis.runs import read_runs
from rlottery.analysis.stability import Stability, write_stability
from rlottery.config import Config
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.pruning.masks import Overlap, make_mask, overlap
from rlottery.storage.disk import write_arrays, write_bytes, write_json
from rlottery.storage.manifests import file_entry
from rlottery.storage.paths import DENSE, RunFiles, Store
from tests.analysis.stores import config, returns, write_run

TASK = "Pendulum-v1"
Groups = dict[str, dict[str, np.ndarray]]
NONE = MaskAnalysis((), (), (), "actor", ("critic.q1", "critic.q2"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def groups(actor: Mapping[str, Any], critic: Mapping[str, Any]) -> Groups:
    return {g: {path: np.array(m, bool) for path, m in of.items()} for g, of in (("actor", actor), ("critic", critic))}


def drawn(seed: int, share: float = 0.3, hidden: int = 7) -> Groups:
    """A random mask of an agent with 3 observation entries and 1 action."""
    rng = np.random.default_rng(seed)

    def network(prefix: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        sizes = [inputs, hidden, hidden, outputs]
        return {f"{prefix}layer_{i}": rng.random(sizes[i : i + 2]) < share for i in range(3)}

    return {"actor": network("", 3, 2), "critic": network("q1.", 4, 1) | network("q2.", 4, 1)}


def write(store: Store, arm: str, seed: int, made: Groups, task: str = TASK) -> RunFiles:
    """A finished run with this mask."""
    write_run(store, arm, seed, returns(0, 1, 2, 3), task=task)
    files = store.run(task, seed, arm)
    mask = make_mask(
        dict(made),
        task=task,
        seed=seed,
        method="listed",
        criterion="taylor",
        estimator=None,
        sparsity={"actor": 0.7, "critic": 0.7},
        fingerprint={},
    )
    write_bytes(files.mask, mask_to_bytes(mask))
    return files


def pages(store: Store, tasks: tuple[str, ...] = (TASK,), seeds: tuple[int, ...] = (0, 1)) -> MaskAnalysis:
    settings: Config = config(tasks, seeds)
    runs = {task.id: read_runs(store, task.name, seeds) for task in settings.tasks}
    return analyse_masks(store, settings, runs)


def only(found: MaskAnalysis) -> ArmMasks:
    (arm,) = found.arms
    return arm


def kind(found: MaskAnalysis, name: str) -> list[MaskOverlap]:
    return [overlap for overlap in found.overlaps if overlap.kind == name]


def test_seeds_whose_actor_has_no_teacher_are_known(store: Store) -> None:
    """The only action is the fourth input of both critics. SAC learns through both of them."""
    blind, half = drawn(0, share=1.0), drawn(1, share=1.0)
    for made, twins in ((blind, ("q1", "q2")), (half, ("q1",))):
        for q in twins:
            made["critic"][f"{q}.layer_0"][3] = False
    write(store, "magnitude-80", 0, blind)
    write(store, "magnitude-80", 1, half)
    found = pages(store)
    assert only(found).untaught == (0,)
    assert (found.acting, found.teachers) == ("actor", ("critic.q1", "critic.q2"))


class TestLayers:
    def test_dead_and_constant_units_drawn_by_hand(self, store: Store) -> None:
        actor = {
            # From three entries to four units: the last has no input.
            "layer_0": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
            # Unit 0 has no way on but to unit 2, which is dead; unit 3 is constant and feeds unit 1.
            "layer_1": [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]],
            "layer_2": [[1, 0], [1, 0], [0, 0]],
        }
        critic = {"q1.layer_0": [[1], [1], [1], [1]], "q1.layer_1": [[1]]}
        write(store, "taylor-80", 0, groups(actor, critic))
        layers = {layer.path: layer for layer in only(pages(store)).layers}
        assert list(layers) == [f"actor.layer_{i}" for i in range(3)] + ["critic.q1.layer_0", "critic.q1.layer_1"]
        told = {path: (la.kept, la.total, la.dead, la.without_input, la.units) for path, la in layers.items()}
        assert told["actor.layer_0"] == (3, 12, 2, 1, 4)  # dead: 0 and 2
        assert told["actor.layer_1"] == (3, 12, 1, 1, 3)  # dead: 2; constant: 1
        assert told["actor.layer_2"] == (2, 6, 0, 1, 0)  # the second output is a constant
        assert told["critic.q1.layer_0"] == (4, 4, 0, 0, 1)

    def test_means_over_seeds_against_path_counting(self, store: Store) -> None:
        """A unit is joined to the outputs if the product of the layers counts at least one path."""
        seeds = (0, 1, 2)
        masks = {seed: drawn(seed) for seed in seeds}
        for seed in seeds:
            write(store, "taylor-80", seed, masks[seed])
        layers = {layer.path: layer for layer in only(pages(store, seeds=seeds)).layers}
        for prefix in ("actor.", "critic.q1.", "critic.q2."):
            group, _, twin = prefix.partition(".")
            dead, constant = np.zeros((2, len(seeds)))
            for seed in seeds:
                first, second, last = (masks[seed][group][f"{twin}layer_{i}"].astype(int) for i in range(3))
                onward, before = (second @ last).sum(axis=1), first.sum(axis=0)
                dead[seed] = (onward == 0).sum()
                constant[seed] = ((onward > 0) & (before == 0)).sum()
            assert layers[f"{prefix}layer_0"].dead == pytest.approx(dead.mean())
            assert layers[f"{prefix}layer_0"].without_input == pytest.approx(constant.mean())


class TestInputs:
    def test_shares_and_names(self, store: Store) -> None:
        critic = {
            # The row of the action, the last, is not reported.
            "q1.layer_0": [[1, 1], [0, 1], [0, 0], [1, 1]],
            "q1.layer_1": [[1], [1]],
            "q2.layer_0": [[0, 0], [0, 1], [1, 1], [1, 1]],
            "q2.layer_1": [[1], [1]],
        }
        for seed, reads_second in enumerate((1, 0)):
            first = [[1, 1, 1, 0], [reads_second, 0, 0, 0], [0, 0, 0, 0]]
            actor = {"layer_0": first, "layer_1": np.ones((4, 2))}
            write(store, "taylor-80", seed, groups(actor, critic))
        inputs = only(pages(store)).inputs
        assert [file_entry.name for file_entry in inputs] == ["cos angle", "sin angle", "angular velocity"]
        assert [file_entry.acting for file_entry in inputs] == [0.75, 0.125, 0]
        assert [file_entry.kept["critic"] for file_entry in inputs] == [0.5, 0.5, 0.5]
        assert [file_entry.ignored for file_entry in inputs] == [0, 1, 2]
        assert [file_entry.saliency for file_entry in inputs] == [None] * 3

    def test_saliency_is_what_enters_of_the_dense_weights(self, store: Store) -> None:
        write_run(store, DENSE, 0, returns(0, 1, 2, 3), task=TASK)
        kernel = np.array([[1, -2], [3, 4], [-5, 5]], np.float32)
        write_arrays(store.run(TASK, 0, DENSE).agent, {"params.actor.layer_0.kernel": kernel})
        actor = {"layer_0": [[1, 0], [1, 1], [0, 0]], "layer_1": [[1], [1]]}
        write(store, "taylor-80", 0, groups(actor, {"q1.layer_0": np.ones((4, 1))}))
        assert [e.saliency for e in only(pages(store)).inputs] == [pytest.approx(1 / 20), pytest.approx(7 / 20), 0]

    def test_a_diverged_or_missing_dense_agent_leaves_it_open(self, store: Store) -> None:
        write_run(store, DENSE, 0, returns(0, 1, 2, 3), task=TASK)
        kernel = np.full((3, 7), np.nan, np.float32)
        write_arrays(store.run(TASK, 0, DENSE).agent, {"params.actor.layer_0.kernel": kernel})
        write(store, "taylor-80", 0, drawn(0))
        write(store, "taylor-80", 1, drawn(1))
        found = pages(store)
        assert only(found).inputs[0].saliency is None
        assert found.problems == ()

    def test_entries_of_another_number_have_no_names(self, store: Store) -> None:
        """The task was made with arguments that change what is seen."""
        write(store, "taylor-80", 0, groups({"layer_0": np.ones((5, 2))}, {"q1.layer_0": np.ones((6, 1))}))
        assert [file_entry.name for file_entry in only(pages(store)).inputs] == [None] * 5


class TestOverlap:
    def test_between_seeds(self, store: Store) -> None:
        for seed in range(3):
            write(store, "taylor-80", seed, drawn(seed))
        (found,) = kind(pages(store, seeds=(0, 1, 2)), "seed")
        assert (found.one, found.other, found.task, found.arm) == ("taylor-80", "taylor-80", TASK, "taylor-80")
        assert found.pairs == 3
        weights = [{(p, *i) for p, m in flat(drawn(seed)).items() for i in np.argwhere(m)} for seed in range(3)]
        expected = [len(weights[a] & weights[b]) / len(weights[a] | weights[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert found.jaccard == pytest.approx(np.mean(expected))
        chance = [overlap(flat(drawn(a)), flat(drawn(b))).chance for a, b in ((0, 1), (0, 2), (1, 2))]
        assert found.chance == pytest.approx(np.mean(chance))

    def test_between_arms_of_one_sparsity(self, store: Store) -> None:
        for seed in (0, 1):
            write(store, "taylor-80", seed, mixed(drawn(seed)))
            write(store, "random-80", seed, mixed(drawn(seed), by=3))
        write(store, "taylor-90", 0, drawn(5, share=0.1))
        (found,) = kind(pages(store), "criterion")
        assert {found.one, found.other} == {"taylor-80", "random-80"}
        assert (found.task, found.arm, found.pairs) == (TASK, None, 2)
        pairs = [overlap(flat(mixed(drawn(seed))), flat(mixed(drawn(seed), by=3))) for seed in (0, 1)]
        assert found.jaccard == pytest.approx(np.mean([pair.jaccard for pair in pairs]))

    def test_between_tasks_of_equal_shapes(self, store: Store) -> None:
        tasks = (TASK, "Pendulum-v0", "Other-v0")
        write(store, "taylor-80", 0, drawn(0), task=tasks[0])
        write(store, "taylor-80", 1, drawn(1), task=tasks[0])
        write(store, "taylor-80", 0, drawn(0), task=tasks[1])
        write(store, "taylor-80", 0, drawn(0, hidden=8), task=tasks[2])
        (found,) = kind(pages(store, tasks), "task")
        assert (found.one, found.other, found.task, found.arm) == (tasks[0], tasks[1], None, "taylor-80")
        assert (found.pairs, found.jaccard) == (1, 1.0)
        assert found.chance < 1

    @pytest.mark.parametrize("seed", range(20))
    def test_packed_bits_count_as_the_masks_do(self, seed: int) -> None:
        """Also of layers whose weights fill no whole byte."""
        rng = np.random.default_rng(seed)
        shapes = [(int(rng.integers(1, 9)), int(rng.integers(1, 9))) for _ in range(int(rng.integers(1, 5)))]
        one, other = ({f"layer_{i}": rng.random(s) < rng.random() for i, s in enumerate(shapes)} for _ in range(2))
        found, expected = overlap_between([pack(one)], [pack(other)]), overlap(one, other)
        assert found is not None and found[0] == 1
        assert found[1].jaccard == pytest.approx(expected.jaccard)
        assert found[1].chance == pytest.approx(expected.chance)

    def test_two_empty_masks_are_alike(self) -> None:
        empty: Packed = pack({"layer_0": np.zeros((2, 3), bool)})
        some: Packed = pack({"layer_0": np.ones((2, 3), bool)})
        assert overlap_between([empty], [empty]) == (1, Overlap(1.0, 1.0))
        assert overlap_within([empty, some, empty]) == (3, Overlap(1 / 3, 1 / 3))
        assert overlap_within([some]) is None and overlap_between([], []) is None

    @pytest.mark.parametrize("masks", [2, 9, 2 * PARTNERS + 1])
    def test_all_pairs_of_masks_are_compared_up_to_129(self, masks: int) -> None:
        made = many(masks)
        found, every = overlap_within([pack(mask) for mask in made]), of_all_pairs(made)
        assert found is not None and found[0] == len(every) == masks * (masks - 1) / 2
        assert found[1].jaccard == pytest.approx(every.mean(), rel=1e-12)
        if masks < 10:
            chance = np.mean([overlap(*pair).chance for pair in combinations(made, 2)])
            assert found[1].chance == pytest.approx(chance, rel=1e-12)

    def test_of_more_each_is_compared_with_as_many_and_the_mean_is_that_of_all_pairs(self) -> None:
        """64 pairs for each mask: with the 64 that follow it, and so with the 64 before it."""
        masks = 300
        made = many(masks)
        found, every = overlap_within([pack(mask) for mask in made]), of_all_pairs(made)
        assert found is not None and found[0] == masks * PARTNERS
        assert found[1].jaccard == pytest.approx(every.mean(), abs=4 * every.std() / np.sqrt(masks * PARTNERS))
        # One full mask among empty ones: each pair with it has the index 0, every other pair 1.
        empty, full = pack({"layer_0": np.zeros((2, 3), bool)}), pack({"layer_0": np.ones((2, 3), bool)})
        for place in (0, 1, PARTNERS, 150, 299):
            one = overlap_within([full if index == place else empty for index in range(masks)])
            assert one is not None and one[1].jaccard == pytest.approx(1 - 2 * PARTNERS / (masks * PARTNERS))


def many(masks: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"layer_0": rng.random((7, 5)) < 0.4, "layer_1": rng.random((5, 3)) < 0.2} for _ in range(masks)]


def of_all_pairs(made: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The Jaccard index of every pair, by a product of matrices."""
    bits = np.array([np.concatenate([layer.ravel() for layer in mask.values()]) for mask in made], dtype=int)
    shared, kept = bits @ bits.T, bits.sum(axis=1)
    indices: np.ndarray = (shared / (kept[:, None] + kept - shared))[np.triu_indices(len(made), 1)]
    return indices


def flat(made: Groups) -> dict[str, np.ndarray]:
    return {f"{group}.{path}": layer for group, layers in made.items() for path, layer in layers.items()}


def mixed(made: Groups, by: int = 0) -> Groups:
    """As many survivors in other places."""
    return {g: {path: np.roll(layer, by) for path, layer in of.items()} for g, of in made.items()}


class TestArms:
    def test_weights_of_one_dense_agent_are_in_memory(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        class Weights(dict[str, np.ndarray]):
            pass

        alive: list[weakref.ref[Weights]] = []

        def weights(*_: object) -> Weights:
            assert sum(made() is not None for made in alive) <= 1
            alive.append(weakref.ref(made := Weights()))
            return made

        monkeypatch.setattr("rlottery.analysis.mask_analysis.weight_sizes", weights)
        for seed in range(4):
            write(store, "taylor-80", seed, drawn(seed))
            write(store, "taylor-90", seed, drawn(seed))
        pages(store, seeds=(0, 1, 2, 3))
        assert len(alive) == 4

    def test_the_first_seeds_picture(self, store: Store) -> None:
        write(store, "taylor-80", 1, drawn(1))
        arm = only(pages(store))
        assert arm.seeds == (1,)
        assert list(arm.picture) == ["actor.layer_0", "actor.layer_1", "actor.layer_2"]
        np.testing.assert_array_equal(arm.picture["actor.layer_1"], drawn(1)["actor"]["layer_1"])

    def test_dense_runs_and_dense_controls_have_none(self, store: Store) -> None:
        write_run(store, DENSE, 0, returns(0, 1, 2, 3), task=TASK)
        write_run(store, "small-95", 0, returns(0, 1, 2, 3), task=TASK)
        assert pages(store) == NONE

    def test_no_runs(self, store: Store) -> None:
        assert analyse_masks(store, config((TASK,)), {}) == NONE


class TestStability:
    def test_is_read_where_its_digest_fits(self, store: Store) -> None:
        for seed, jaccard in enumerate((0.6, 0.8, 0.9)):
            files = write(store, "taylor-80", seed, drawn(seed))
            of = read_mask(files.mask).metadata["digest"] if seed < 2 else "of another mask"
            write_stability(files, Stability(of, 5, jaccard, 0.1))
        arm = only(pages(store, seeds=(0, 1, 2)))
        assert arm.stability == pytest.approx(0.7)
        assert arm.stability_chance == pytest.approx(0.1)
        assert arm.stability_seeds == (0, 1)

    def test_is_none_where_it_was_not_measured(self, store: Store) -> None:
        write(store, "taylor-80", 0, drawn(0))
        assert only(pages(store)).stability is None

    @pytest.mark.parametrize(
        "content",
        [
            [],
            {},
            {"format_version": 2, "mask": "a", "resamples": 5, "jaccard": 0.5, "chance": 0.1},
            {"format_version": 1, "mask": "a", "resamples": 5, "jaccard": 1.5, "chance": 0.1},
            {"format_version": 1, "mask": 3, "resamples": 5, "jaccard": 0.5, "chance": 0.1},
        ],
    )
    def test_a_damaged_file_is_reported(self, store: Store, content: object) -> None:
        files = write(store, "taylor-80", 0, drawn(0))
        write_json(files.stability, content)
        found = pages(store)
        assert only(found).stability is None
        (problem,) = found.problems
        assert str(files.stability) in problem


class TestProblems:
    def test_a_damaged_mask_is_named_and_stops_no_other(self, store: Store) -> None:
        write(store, "taylor-80", 0, drawn(0))
        files = write(store, "taylor-80", 1, drawn(1))
        data = bytearray(files.mask.read_bytes())
        data[len(data) // 2] ^= 1
        files.mask.write_bytes(data)
        found = pages(store)
        assert only(found).seeds == (0,)
        (problem,) = found.problems
        assert str(files.mask) in problem

    def test_a_mask_that_the_manifest_names_and_is_gone(self, store: Store) -> None:
        files = write(store, "taylor-80", 0, drawn(0))
        list_mask(store, files)
        files.mask.unlink()
        found = pages(store)
        assert found.arms == ()
        (problem,) = found.problems
        assert str(files.mask) in problem

    def test_a_sound_mask_that_is_not_the_runs_own(self, store: Store) -> None:
        files = write(store, "taylor-80", 0, drawn(0))
        list_mask(store, files)
        other = write(store, "taylor-80", 1, drawn(1))
        files.mask.write_bytes(other.mask.read_bytes())
        found = pages(store)
        assert only(found).seeds == (1,)
        (problem,) = found.problems
        assert str(files.mask) in problem

    def test_masks_of_other_shapes_than_the_first_seeds(self, store: Store) -> None:
        write(store, "taylor-80", 0, drawn(0))
        files = write(store, "taylor-80", 1, drawn(1, hidden=8))
        found = pages(store)
        assert only(found).seeds == (0,)
        assert found.problems == (f"{files.mask} has different layers from the mask of seed 0.",)

    def test_layers_that_are_no_network(self, store: Store) -> None:
        made = groups({"layer_0": np.ones((3, 4)), "layer_1": np.ones((5, 2))}, {"q1.layer_0": np.ones((4, 1))})
        files = write(store, "taylor-80", 0, made)
        found = pages(store)
        assert found.arms == ()
        (problem,) = found.problems
        assert str(files.mask) in problem
        assert "layer_1" in problem

    def test_a_damaged_dense_agent_is_reported_once(self, store: Store) -> None:
        write_run(store, DENSE, 0, returns(0, 1, 2, 3), task=TASK)
        agent = store.run(TASK, 0, DENSE).agent
        agent.write_bytes(b"nothing")
        for arm in ("taylor-80", "taylor-90"):
            write(store, arm, 0, drawn(0))
        found = pages(store)
        assert [arm.inputs[0].saliency for arm in found.arms] == [None, None]
        (problem,) = found.problems
        assert str(agent) in problem

    def test_removed_dense_agents_are_one_line(self, store: Store) -> None:
        """Such as those of an archive that holds a study's records alone."""
        for seed in range(2):
            write_run(store, DENSE, seed, returns(0, 1, 2, 3), task=TASK)
            write(store, "taylor-80", seed, drawn(seed))
        found = pages(store)
        assert only(found).inputs[0].saliency is None
        (problem,) = found.problems
        assert problem.startswith("The weights of 2 dense agents were removed")
        assert str(store.run(TASK, 0, DENSE).agent) in problem


def list_mask(store: Store, files: RunFiles) -> None:
    """The run's manifest with the mask's checksum in it."""
    listed = {files.mask.name: file_entry(files.mask)["sha256"]}
    write_run(store, "taylor-80", 0, returns(0, 1, 2, 3), task=TASK, files=listed)


def test_what_each_network_really_keeps(store: Store) -> None:
    """As drawn by hand, mean over two seeds; the scores' rank is in the metadata of one of them."""
    first = {"layer_0": [[1, 0], [1, 1]], "layer_1": [[1], [0]]}  # the edge into the second unit leads nowhere
    whole = {"layer_0": [[1, 1], [1, 1]], "layer_1": [[1], [1]]}
    twin = {"q1.layer_0": [[1]] * 3, "q1.layer_1": [[1]]}
    write(store, "taylor-80", 0, groups(first, twin))
    files = write(store, "taylor-80", 1, groups(whole, twin))
    mask = read_mask(files.mask)
    mask.metadata["rank_one"] = {"actor": {"layer_0": 0.75, "layer_1": None}, "critic": {}}
    write_bytes(files.mask, mask_to_bytes(mask))
    actor, critic = only(pages(store)).networks
    assert (actor.path, actor.kept, actor.useful, actor.total) == ("actor", 5.0, 4.5, 6)
    assert (actor.in_use, actor.units, actor.rank_one) == (1.5, 2, 0.75)
    assert actor.idle == pytest.approx(0.1) and actor.effective_sparsity == pytest.approx(0.25)
    assert (critic.path, critic.idle, critic.rank_one) == ("critic.q1", 0.0, None)


def test_shared_budgets_are_named(store: Store) -> None:
    twins = {f"{twin}.layer_{i}": np.ones((2, 2)) for twin in ("q1", "q2") for i in (0, 1)}
    for arm, told in (("old-80", {}), ("new-80", {"twins": "separate"}), ("erk-80", {"allocation": "erk"})):
        files = write(store, arm, 0, groups({"layer_0": np.ones((2, 2))}, twins))
        mask = read_mask(files.mask)
        mask.metadata["fingerprint"] = {"pruning": {"sparsity": {"actor": 0.8, "critic": 0.8}, **told}}
        write_bytes(files.mask, mask_to_bytes(mask))
    assert {arm.arm for arm in pages(store, seeds=(0,)).arms if arm.shares_budget} == {"old-80"}
