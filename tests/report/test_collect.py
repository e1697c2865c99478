"""The contents collected from studies that are finished, unfinished, damaged or mixed."""

import json
from pathlib import Path

import pytest

from rlottery.config import Config, SACSettings, Training
from rlottery.report.collect import collect
from rlottery.report.contrast_sentences import registered
from rlottery.report.score_tables import closing_table
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from rlottery.study.planning.fingerprints import dense_fingerprint
from tests.analysis.stores import config, success, write_mask, write_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def write_study(store: Store, seeds: range = range(5)) -> None:
    """Dense agents that learn, and tickets with masks and random controls."""
    for seed in seeds:
        write_run(store, "dense", seed, success(0.0, 0.8, 1.0, 1.0), seconds=100.0)
        rate = 0.3 + seed / 20
        write_run(store, "magnitude-70", seed, success(0.0, rate, rate, rate), seconds=40.0)
        told = {"control": "random", "of": {"criterion": "magnitude", "sparsity": {"actor": 0.7, "critic": 0.7}}}
        write_run(store, "random-70", seed, success(0.0, 0.1, 0.1, 0.1), seconds=50.0, recipe=told)
        write_mask(store.run("reach-v3", seed, "magnitude-70").mask, [0, 1, seed + 2])
        write_mask(store.run("reach-v3", seed, "random-70").mask, [0, 5, 9])


def test_a_whole_study(store: Store) -> None:
    write_study(store)
    contents = collect(store, config(seeds=range(5)))
    # A study written by hand has no agents, which the analysis of masks reads for saliency.
    assert [line for line in contents.missing if "agent.safetensors" not in line] == []
    (task,) = contents.verdicts.tasks
    ticket, control = task.arms
    assert (ticket.arm, ticket.control) == ("magnitude-70", "random-70")
    assert (ticket.dense.answer, ticket.random.answer) == ("worse", "better")
    assert control.kind == "control" and control.dense.answer is control.random.answer is None
    assert {arm.arm for arm in contents.across} == {"dense", "magnitude-70", "random-70"}
    costs = {cost.arm: cost for cost in contents.costs}
    assert costs["magnitude-70"].of_dense == pytest.approx(0.4)
    # (300 - 10) updates of 256 transitions; 10 weights a group, 8 and 12 operations each.
    assert costs["dense"].flops == 290 * 256 * (8 * 10 + 12 * 10)
    assert costs["magnitude-70"].flops == pytest.approx(0.3 * 290 * 256 * 200)


def test_fewer_updates_than_steps_cost_less(store: Store) -> None:
    write_study(store, range(1))
    asked = config(seeds=(0,))
    training = Training(**asked.training.model_dump() | {"updates_per_step": 0.25})
    costs = {cost.arm: cost for cost in collect(store, asked.model_copy(update={"training": training})).costs}
    assert costs["dense"].flops == 72 * 256 * (8 * 10 + 12 * 10)  # after 10 steps of warm-up, every fourth of 290


def test_an_iterative_ticket_costs_all_its_rounds(store: Store) -> None:
    write_study(store, range(1))
    for number, (sparsity, seconds) in enumerate([(0.2, 90.0), (0.5, 60.0)], start=1):
        pruned = {"actor": sparsity, "critic": sparsity}
        name = f"magnitude-70.round-{number}"
        write_run(
            store, name, 0, success(0.0, 0.1), sparsity=pruned, seconds=seconds, round_of="magnitude-70", env_steps=300
        )
    costs = {cost.arm: cost for cost in collect(store, config(seeds=(0,))).costs}
    assert set(costs) == {"dense", "magnitude-70", "random-70"}
    assert costs["magnitude-70"].seconds == 90 + 60 + 40
    assert costs["magnitude-70"].flops == pytest.approx((0.8 + 0.5 + 0.3) * 290 * 256 * 200)


def test_half_a_study_says_what_is_missing(store: Store) -> None:
    write_study(store, range(2))
    write_run(store, "magnitude-70", 2, success(0.0), error="the disk is full")
    contents = collect(store, config(["reach-v3", "push-v3"], seeds=range(3)))
    said = "\n".join(contents.missing)
    assert "reach-v3: dense: seed 2 is not finished yet." in said
    assert "reach-v3: magnitude-70, seed 2: failed: the disk is full" in said
    assert "push-v3: no run is finished yet." in said
    assert all(task.state == "too few seeds" for task in contents.verdicts.tasks)


def test_what_has_begun_on_one_task_is_asked_for_on_all(store: Store) -> None:
    for task, arms in {"reach-v3": ("dense", "magnitude-80", "taylor-80"), "push-v3": ("dense",)}.items():
        for arm in arms:
            write_run(store, arm, 0, success(0.0, 0.8, 1.0, 1.0), task=task)
    contents = collect(store, config(["reach-v3", "push-v3"], seeds=range(1)))
    assert [line for line in contents.missing if "finished" in line] == [
        "push-v3: magnitude-80: no seed is finished yet.",
        "push-v3: taylor-80: no seed is finished yet.",
    ]
    assert contents.asked == 2 * 3


def test_nothing_at_all(store: Store) -> None:
    contents = collect(store, config())
    assert contents.missing == ("reach-v3: no run is finished yet.",)
    assert contents.across == () and contents.costs == ()


def test_truncated_metrics_are_named_and_count_for_nothing(store: Store) -> None:
    write_study(store)
    metrics = store.run("reach-v3", 1, "magnitude-70").metrics
    metrics.write_bytes(metrics.read_bytes()[:150])
    metrics.write_text(metrics.read_text() + "\n{")
    contents = collect(store, config(seeds=range(5)))
    assert any("magnitude-70, seed 1" in line for line in contents.missing)
    (task,) = contents.verdicts.tasks
    assert task.arms[0].dense.answer is None and "4 of 5 seeds" in task.arms[0].dense.why


def test_runs_of_other_settings_than_the_configs_are_reported_once_per_task(store: Store) -> None:
    trained = config(seeds=range(5)).model_copy(update={"sac": SACSettings(batch_size=64)})
    for seed in range(5):
        for arm in ("dense", "magnitude-70"):
            fingerprint = dense_fingerprint(trained, trained.tasks[0], seed)
            write_run(store, arm, seed, success(0.0, 0.8, 1.0, 1.0), fingerprint=fingerprint)
    (said,) = [line for line in collect(store, config(seeds=range(5))).missing if "other settings" in line]
    assert said.startswith(
        "reach-v3: 10 runs were trained with other settings than these "
        "(sac.batch_size: the files have 64, this config asks for 256). The scores are those of the runs as trained"
    )
    assert not any("other settings" in line for line in collect(store, trained).missing)


def test_runs_of_different_settings_are_not_mixed(store: Store) -> None:
    write_study(store)
    for seed in range(5):
        files = store.run("reach-v3", seed, "dense")
        manifest = json.loads(files.manifest.read_text())
        batch_size = 128 if seed == 3 else 256
        files.manifest.write_text(
            json.dumps({**manifest, "fingerprint": {"seed": seed, "sac": {"batch_size": batch_size}}})
        )
    contents = collect(store, config(seeds=range(5)))
    said = [line for line in contents.missing if "seed 3" in line]
    assert any("sac.batch_size: the files have 128, seed 0 has 256" in line for line in said)
    assert any("in separate folders" in line for line in said)
    assert contents.verdicts.tasks[0].seeds == (0, 1, 2, 4)
    assert contents.verdicts.tasks[0].state == "too few seeds"


def test_a_diverged_run_counts_as_untrained(store: Store) -> None:
    write_study(store)
    write_run(store, "magnitude-70", 4, success(0.0, 0.9), status="diverged", error="critic_loss became NaN")
    contents = collect(store, config(seeds=range(5)))
    arm = contents.scores[0].arm("magnitude-70")
    assert arm is not None and arm.scores[4] == 0.0 and len(arm.scores) == 5
    # The closing table says the same.
    table = closing_table(contents, contents.scores[0])
    (row,) = [row for row in table.rows if row.cells[0].text == "magnitude-70"]
    texts = dict(zip([column.title for column in table.columns], [cell.text for cell in row.cells], strict=True))
    assert (texts["Success"], texts["Runs"]) == (f"{arm.mean.value:.2f}", "4/5")


def test_commands_and_added_seeds_come_from_the_record(store: Store) -> None:
    write_study(store)
    for seeds in (range(3), range(5)):
        settings = config(seeds=seeds).model_copy(update={"data": store.root})
        note_command(settings, has_work=True)
    contents = collect(store, settings)
    assert [command.seeds for command in contents.commands] == [(0, 1, 2), (0, 1, 2, 3, 4)]
    assert contents.verdicts.seeds_added == 1


def test_when_contrasts_were_registered_comes_from_the_record(store: Store) -> None:
    first, second = "magnitude-70 > random-70", "magnitude-70 vs dense"
    ticket = {"name": "magnitude-70", "criterion": "magnitude", "sparsity": 0.7}
    recipes = {"arms": [ticket, {"name": "random-70", "control": "random", "of": "magnitude-70"}]}
    for known in ([first], [first, second]):
        plain = config(seeds=range(5)).model_dump(mode="json", exclude={"pruning"})
        settings = Config.model_validate({**plain, **recipes, "contrasts": known, "data": str(store.root)})
        note_command(settings, has_work=True)
        write_study(store)
    contents = collect(store, settings)
    assert dict(contents.claims) == {(first, "score"): 0, (second, "score"): 15}
    told = {row.text: registered(row, contents) for row in contents.verdicts.contrasts}
    assert (told[first], told[second]) == ("registered before the first run", "registered after 15 runs had ended")
    # A claim that the config drops is still tested and corrected for.
    without = collect(store, settings.model_copy(update={"contrasts": settings.contrasts[1:]}))
    assert {row.text for row in without.verdicts.contrasts if row.origin == "registered"} == {first, second}
    assert [row.adjusted for row in without.verdicts.contrasts if row.text == second] == [
        row.adjusted for row in contents.verdicts.contrasts if row.text == second
    ]


def test_the_same_store_gives_the_same_intervals(store: Store) -> None:
    write_study(store)
    settings = config(seeds=range(5))
    one, other = collect(store, settings), collect(store, settings)
    assert one.scores == other.scores and one.verdicts == other.verdicts
    assert [arm.iqm for arm in one.across] == [arm.iqm for arm in other.across]


def test_a_damaged_record_is_reported(store: Store) -> None:
    write_study(store)
    store.record.write_text("{}")
    contents = collect(store, config(seeds=range(5)))
    assert any("It is not known how often seeds were added" in line for line in contents.missing)


def test_without_a_ticket_a_study_is_not_whole(store: Store) -> None:
    for seed in range(2):
        write_run(store, "dense", seed, success(0.0, 0.8, 1.0, 1.0))
    assert collect(store, config()).missing == ("reach-v3: no ticket is finished yet.",)


def test_where_dense_may_have_learned_by_chance_nobody_has_a_normalised_score(store: Store) -> None:
    for seed, rate in enumerate((1.0, 0.0, 0.0, 0.0, 0.0)):
        write_run(store, "dense", seed, success(0.0, rate, rate, rate))
        write_run(store, "magnitude-70", seed, success(0.0, 1.0, 1.0, 1.0))
    contents = collect(store, config(seeds=range(5)))
    assert contents.verdicts.tasks[0].state == "did not learn"
    assert contents.scores[0].arms[1].normalised_score is None and contents.across == ()
    assert contents.scores[0].gain is None


def test_a_task_with_few_seeds_keeps_no_other_from_being_shown(store: Store) -> None:
    for task, seeds in (("reach-v3", range(5)), ("push-v3", range(2))):
        for seed in seeds:
            for arm, rate in (("dense", 1.0), ("magnitude-80", 0.2 + seed / 50), ("taylor-80", 0.5)):
                write_run(store, arm, seed, success(0.0, rate, rate, rate), task=task)
    contents = collect(store, config(["reach-v3", "push-v3"], seeds=range(5)))
    assert {(row.task, row.fewest) for row in contents.verdicts.methods} == {("reach-v3", 5)}
    assert all(arm.tasks == ("reach-v3",) for arm in contents.across)
    few = collect(store, config(["push-v3"], seeds=range(5)))
    assert {row.fewest for row in few.verdicts.methods} == {2} and few.across
