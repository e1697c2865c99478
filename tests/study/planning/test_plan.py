import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError, TaskError
from rlottery.storage.checkpoint_record import newest_checkpoint, record_path
from rlottery.storage.manifests import read_manifest, write_sealed
from rlottery.study.planning.finished_runs import damage_of_job
from rlottery.study.planning.jobs import STAGES, list_jobs, prerequisites, untrained_jobs
from rlottery.study.planning.plan import JobState, plan_study
from tests.study.studies import (
    change_manifest,
    contents,
    job,
    planned_runs,
    tiny_config,
    write_dense,
    write_mask,
    write_record,
    write_study,
    write_ticket,
    write_untrained,
)


def to_do(config: Config, method: str = "magnitude", stages: tuple[str, ...] = STAGES) -> list[str]:
    """Labels of the jobs of runs that are left."""
    return [t.job.label for t in planned_runs(config, method, stages) if t.state is JobState.WAITING]


def refused(config: Config, method: str = "magnitude", stages: tuple[str, ...] = STAGES) -> str:
    """The message of the refusal, which must leave the files alone."""
    before = contents(config.data)
    with pytest.raises(RlotteryError) as caught:
        plan_study(config, method, stages)
    assert contents(config.data) == before
    return str(caught.value)


DENSE, MASK, TICKET = (
    "Pendulum-v1 seed 0 dense",
    "Pendulum-v1 seed 0 magnitude-80 mask",
    "Pendulum-v1 seed 0 magnitude-80",
)


class TestWhatIsDone:
    def test_nothing_at_first(self, tmp_path: Path) -> None:
        assert to_do(tiny_config(tmp_path)) == [DENSE, MASK, TICKET]
        assert not (tmp_path / "data").exists()

    def test_stages_that_were_not_asked_for_are_not_planned(self, tmp_path: Path) -> None:
        assert to_do(tiny_config(tmp_path), stages=("dense",)) == [DENSE]

    def test_stages_go_in_their_order_however_asked_for(self, tmp_path: Path) -> None:
        assert to_do(tiny_config(tmp_path), stages=("ticket", "mask", "dense")) == [DENSE, MASK, TICKET]

    def test_everything_in_a_finished_study(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "seeds=[0, 1]")
        write_study(config)
        assert to_do(config) == []

    def test_half_of_it(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_dense(config)
        assert to_do(config) == [MASK, TICKET]
        write_mask(config)
        assert to_do(config) == [TICKET]

    @pytest.mark.parametrize("override", ["workers=1", "evaluation.score_evaluations=2", "keep_replay=false"])
    def test_keys_without_an_effect_on_training(self, tmp_path: Path, override: str) -> None:
        write_study(tiny_config(tmp_path))
        assert to_do(tiny_config(tmp_path, override)) == []

    def test_the_untrained_policies_of_each_task_are_to_do_once(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "seeds=[0, 1]", "tasks=[Pendulum-v1, MountainCarContinuous-v0]")
        write_untrained(config, -1.0, -2.0)
        found = {t.job.label: t.state for t in plan_study(config, None, ("dense",)) if t.job.arm_name == "untrained"}
        assert found == {
            "Pendulum-v1 untrained policies": JobState.FOUND,
            "MountainCarContinuous-v0 untrained policies": JobState.WAITING,
        }
        assert untrained_jobs(config, ("mask", "ticket")) == []

    def test_a_failed_run_is_to_do(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense = write_dense(config)
        change_manifest(dense.files, status="failed", files={})
        assert DENSE in to_do(config)

    @pytest.mark.parametrize("name", ["agent.safetensors", "initial.safetensors", "metrics.jsonl", "manifest.json"])
    def test_a_dense_run_without_a_file_is_to_do(self, tmp_path: Path, name: str) -> None:
        config = tiny_config(tmp_path)
        (write_dense(config).files.folder / name).unlink()
        assert DENSE in to_do(config)

    def test_a_dense_run_without_its_replay_is_to_do(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        shutil.rmtree(job(config, "dense").files.replay)
        assert to_do(config) == [DENSE, MASK, TICKET]  # the last two are looked at again once dense is there
        assert to_do(config, stages=("mask", "ticket")) == []

    def test_a_released_replay_is_missed_only_where_replay_is_to_be_kept(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "keep_replay=false")
        write_study(config)
        files = job(config, "dense").files
        shutil.rmtree(files.replay)
        change_manifest(files, replay="released")
        assert to_do(config) == []
        assert DENSE in to_do(tiny_config(tmp_path))

    def test_masks_made_of_another_dense_agent_are_to_do(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_dense(config)
        write_mask(config)
        write_dense(config, trained=1)
        assert to_do(config, stages=("mask",)) == [MASK]


class TestDamage:
    @pytest.mark.parametrize("name", ["agent.safetensors", "initial.safetensors", "metrics.jsonl", "manifest.json"])
    @pytest.mark.parametrize("how", ["flipped", "cut short"])
    def test_a_damaged_dense_run_is_named_and_made_anew(self, tmp_path: Path, name: str, how: str) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        damage(job(config, "dense").files.folder / name, how)
        (found,) = damage_of_job(job(config, "dense"))
        assert found.file.name == name
        assert to_do(config) == [DENSE, MASK, TICKET]  # mask and ticket are found done once the agent is back

    @pytest.mark.parametrize("name", ["agent.safetensors", "metrics.jsonl", "mask.pkl", "manifest.json"])
    def test_a_damaged_ticket_is_made_anew(self, tmp_path: Path, name: str) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        damage(job(config, "ticket").files.folder / name, "flipped")
        assert to_do(config) == ([MASK, TICKET] if name == "mask.pkl" else [TICKET])
        assert damage_of_job(job(config, "ticket"))[0].file.name == name

    def test_a_damaged_replay_is_made_anew(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        damage(job(config, "dense").files.replay / "rewards.npy", "flipped")
        assert DENSE in to_do(config)
        assert DENSE in to_do(config, "gradient")

    def test_a_replay_cut_short_is_damage(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        damage(job(config, "dense").files.replay / "rewards.npy", "cut short")
        assert DENSE in to_do(config)

    def test_a_damaged_agent_is_not_pruned(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        damage(write_dense(config).files.agent, "cut short")
        message = refused(config, stages=("mask", "ticket"))
        assert "agent.safetensors is damaged: it has" in message and "--stages dense" in message


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if how == "flipped" else content[:-1])


class TestUnfinished:
    def test_a_checkpoint_of_another_config_is_an_error(self, tmp_path: Path) -> None:
        dense = job(tiny_config(tmp_path), "dense")
        write_record(dense, 100)
        other = tiny_config(tmp_path, "sac.batch_size=128")
        message = refused(other)
        assert "unfinished run" in message
        assert "sac.batch_size: the files have 256, this config asks for 128" in message
        assert to_do(tiny_config(tmp_path)) == [DENSE, MASK, TICKET]

    def test_a_ticket_is_compared_too(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_dense(config)
        write_mask(config)
        write_record(job(config, "ticket"), 100)
        shutil.rmtree(job(config, "dense").files.folder)
        assert "sac.discount" in refused(tiny_config(tmp_path, "sac.discount=0.5"))

    def test_the_newest_sound_one_counts(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense = job(config, "dense")
        write_record(dense, 100)
        write_record(dense, 200)
        damage(record_path(dense.files, 200), "flipped")
        found = newest_checkpoint(dense.files)
        assert found is not None and found["env_steps"] == 100


class TestDiverged:
    def test_it_is_neither_run_again_nor_left_out(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        ticket = job(config, "ticket")
        change_manifest(ticket.files, status="diverged", error="Not finite.")
        states = {t.job.label: (t.state, t.message) for t in plan_study(config, "magnitude", STAGES)}
        assert states[DENSE][0] is JobState.FOUND
        state, message = states[TICKET]
        assert state is JobState.DIVERGED
        assert message.startswith("Not finite.\nThis is the run's result") and str(ticket.files.folder) in message

    def test_what_depends_on_it_is_not_run(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        change_manifest(write_dense(config).files, status="diverged", error="Not finite.")
        planned = planned_runs(config, "magnitude", STAGES)
        assert [t.state for t in planned] == [JobState.DIVERGED, JobState.WAITING, JobState.WAITING]
        assert [t.state for t in plan_study(config, "magnitude", ("mask",))] == [JobState.SKIPPED]

    def test_damage_to_it_is_mended(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense = write_dense(config)
        change_manifest(dense.files, status="diverged", error="Not finite.")
        damage(dense.files.metrics, "flipped")
        assert DENSE in to_do(config)
        assert damage_of_job(dense)[0].file == dense.files.metrics

    def test_other_settings_are_another_study(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        change_manifest(write_dense(config).files, status="diverged", error="Not finite.")
        assert "sac.batch_size" in refused(tiny_config(tmp_path, "sac.batch_size=128"))


class TestAddedArms:
    def test_another_sparsity_trains_no_dense_agent(self, tmp_path: Path) -> None:
        write_study(tiny_config(tmp_path))
        denser = tiny_config(tmp_path, "pruning.sparsity=0.5")
        assert to_do(denser) == ["Pendulum-v1 seed 0 magnitude-50 mask", "Pendulum-v1 seed 0 magnitude-50"]

    def test_the_other_method_trains_no_dense_agent(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        name = "Pendulum-v1 seed 0 taylor-80-2x8"
        assert to_do(config, "gradient") == [f"{name} mask", name]

    def test_back_at_the_first_sparsity_its_mask_is_published_again(self, tmp_path: Path) -> None:
        first, second = tiny_config(tmp_path), tiny_config(tmp_path, "pruning.sparsity=0.5")
        write_study(first)
        write_mask(second)
        write_ticket(second)
        assert to_do(second) == []
        assert to_do(first) == [MASK]  # a copy; the ticket is done

    def test_added_seeds_and_tasks_extend_the_study(self, tmp_path: Path) -> None:
        write_study(tiny_config(tmp_path))
        wider = tiny_config(tmp_path, "seeds=[0, 1]", "tasks=[Pendulum-v1, InvertedPendulum-v5]")
        assert to_do(wider, stages=("dense",)) == [
            "Pendulum-v1 seed 1 dense",
            "InvertedPendulum-v5 seed 0 dense",
            "InvertedPendulum-v5 seed 1 dense",
        ]


class TestAnotherStudy:
    @pytest.mark.parametrize("stages", [STAGES, ("dense",), ("mask",), ("ticket",), ("mask", "ticket")])
    def test_a_changed_training_key_is_named_with_both_values(self, tmp_path: Path, stages: tuple[str, ...]) -> None:
        write_study(tiny_config(tmp_path))
        message = refused(tiny_config(tmp_path, "sac.batch_size=128"), stages=stages)
        assert "sac.batch_size: the files have 256, this config asks for 128" in message
        assert "data=" in message

    def test_a_ticket_without_its_dense_run_is_compared_too(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        shutil.rmtree(job(config, "dense").files.folder)
        message = refused(tiny_config(tmp_path, "sac.discount=0.5"))
        assert "magnitude-80" in message and "sac.discount: the files have 0.99, this config asks for 0.5" in message

    def test_a_ticket_of_another_mask_is_an_error(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        ticket = job(config, "ticket")
        fingerprint = (read_manifest(ticket.files) or {})["fingerprint"]
        fingerprint["inputs"]["mask"] = "of another mask"
        change_manifest(ticket.files, fingerprint=fingerprint)
        assert "inputs.mask" in refused(config)

    def test_a_manifest_of_a_later_format(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense = write_dense(config)
        write_sealed(dense.files.manifest, {"format_version": 99})
        message = refused(config)
        assert str(dense.files.manifest) in message and "has format 99" in message


class TestMissingInputs:
    @pytest.mark.parametrize("stages", [("mask",), ("ticket",), ("mask", "ticket")])
    def test_no_dense_run(self, tmp_path: Path, stages: tuple[str, ...]) -> None:
        message = refused(tiny_config(tmp_path), stages=stages)
        assert message.startswith("Dense agent not found") and "--stages dense" in message

    def test_no_replay_for_gradients(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        shutil.rmtree(write_dense(config).files.replay)
        message = refused(config, "gradient", ("mask", "ticket"))
        assert message.startswith("Replay buffer not found")
        assert "main(train_agent=True, create_ticket=False, run_ticket=False)" in message
        assert to_do(config, stages=("mask",)) == [MASK]  # magnitude reads none

    def test_no_replay_since_the_config_let_it_go(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path, "keep_replay=false")
        dense = write_dense(config)
        shutil.rmtree(dense.files.replay)
        change_manifest(dense.files, replay="released")
        assert to_do(config) == [MASK, TICKET]
        message = refused(config, "gradient")
        assert message.startswith("Replay buffer not found") and "keep_replay: true" in message

    def test_no_mask(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_dense(config)
        message = refused(config, stages=("ticket",))
        assert message.startswith(f"Mask not found: {job(config, 'mask').mask_path}") and "--stages mask" in message

    def test_no_mask_is_known_before_a_dense_agent_is_trained(self, tmp_path: Path) -> None:
        assert refused(tiny_config(tmp_path), stages=("dense", "ticket")).startswith("Mask not found")


class TestUnusableMasks:
    """At the method's own name, where people put masks of theirs."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Config:
        config = tiny_config(tmp_path)
        write_dense(config)
        write_mask(config)
        return config

    def test_corrupt(self, config: Config) -> None:
        path = job(config, "mask").mask_path
        path.write_bytes(path.read_bytes()[:-20])
        message = refused(config, stages=("ticket",))
        assert str(path) in message and "--stages mask" in message

    def test_hostile(self, config: Config, tmp_path: Path) -> None:
        class Hostile:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (tmp_path / "executed",))

        job(config, "mask").mask_path.write_bytes(pickle.dumps({"actor": Hostile(), "critic": {}, "metadata": {}}))
        message = refused(config, stages=("ticket",))
        assert "mask" in message and "--stages mask" in message
        assert to_do(config) == [MASK, TICKET]  # it is written over
        assert not (tmp_path / "executed").exists()

    def test_of_other_shapes(self, config: Config, tmp_path: Path) -> None:
        wider = tiny_config(tmp_path / "wider", "network.actor=[8, 16]")
        write_dense(wider)
        shutil.copy(write_mask(wider).mask_path, job(config, "mask").mask_path)
        message = refused(config, stages=("ticket",))
        assert "layer_0" in message and "(3, 8)" in message and "(3, 16)" in message

    def test_of_another_sparsity(self, config: Config, tmp_path: Path) -> None:
        write_mask(tiny_config(tmp_path, "pruning.sparsity=0.5"))
        message = refused(config, stages=("ticket",))
        assert "pruning.sparsity.actor: the files have 0.5, this config asks for 0.8" in message

    def test_are_made_again_by_the_mask_stage(self, config: Config) -> None:
        job(config, "mask").mask_path.write_bytes(b"")
        assert to_do(config, stages=("mask", "ticket")) == [MASK, TICKET]


class TestAsked:
    def test_unknown_stage(self, tmp_path: Path) -> None:
        assert "'tiket'; did you mean 'ticket'?" in refused(tiny_config(tmp_path), stages=("dense", "tiket"))

    def test_no_stage(self, tmp_path: Path) -> None:
        assert refused(tiny_config(tmp_path), stages=()).startswith("No stage")

    def test_unknown_task(self, tmp_path: Path) -> None:
        with pytest.raises(TaskError, match="Pendulum-v1"):
            plan_study(tiny_config(tmp_path, "tasks=[Pendlum-v1]"), "magnitude", STAGES)

    def test_a_data_folder_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for folder in (tmp_path / "file", tmp_path / "file" / "data"):
            with pytest.raises(StudyError, match=f"{tmp_path / 'file'} is a file"):
                plan_study(tiny_config(tmp_path, f"data={folder}"), "magnitude", STAGES)


def test_jobs_wait_for_the_stage_before_of_their_task_and_seed(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "seeds=[3, 4]")
    planned = list_jobs(config, [job(config, "mask").ticket_arm], ("ticket", "dense"))
    assert [(j.stage, j.seed) for j in planned] == [("dense", 3), ("dense", 4), ("ticket", 3), ("ticket", 4)]
    assert prerequisites(planned) == [[], [], [0], [1]]


def test_masks_have_the_names_of_the_guide(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert job(config, "mask").mask_path == config.data / "masks" / "Pendulum-v1_seed_0.pkl"
    gradient = job(config, "mask", method="gradient")
    assert gradient.mask_path == config.data / "masks" / "Pendulum-v1_seed_0_gradient.pkl"


def test_masks_written_by_hand_are_what_they_should_be(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    write_dense(config)
    with write_mask(config).mask_path.open("rb") as file:
        kept = sum(int(np.count_nonzero(layer)) for layer in pickle.load(file)["actor"].values())
    assert kept == round(0.2 * (3 * 16 + 16 * 16 + 16 * 2))
