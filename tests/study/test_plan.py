import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError, TaskError
from rlottery.pruning.mask_file import mask_to_bytes, read_mask
from rlottery.store import read_manifest, write_bytes, write_json
from rlottery.study.executor import State
from rlottery.study.plan import STAGES, jobs, prerequisites
from rlottery.study.run import plan_study

from .studies import contents, job, tiny_config, write_dense, write_mask, write_study, write_ticket


def to_do(config: Config, method: str = "magnitude", stages: tuple[str, ...] = STAGES) -> list[str]:
    """Labels of the jobs that are left."""
    return [t.job.label for t in plan_study(config, method, stages) if t.state is State.WAITING]


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

    def test_a_failed_run_is_to_do(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        dense = write_dense(config)
        write_json(dense.files.manifest, (read_manifest(dense.files) or {}) | {"status": "failed", "files": {}})
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
        write_json(files.manifest, (read_manifest(files) or {}) | {"replay": "released"})
        assert to_do(config) == []
        assert DENSE in to_do(tiny_config(tmp_path))

    def test_masks_made_of_another_dense_agent_are_to_do(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_dense(config)
        write_mask(config)
        write_dense(config, trained=1)
        assert to_do(config, stages=("mask",)) == [MASK]

    def test_a_ticket_keeps_its_mask_in_whatever_bytes(self, tmp_path: Path) -> None:
        config = tiny_config(tmp_path)
        write_study(config)
        own = job(config, "mask").files.mask
        before = own.read_bytes()
        # The ticket stage writes its mask as read from the method's file: equal, but pickled otherwise.
        own.write_bytes(mask_to_bytes(read_mask(own)))
        assert own.read_bytes() != before
        assert to_do(config) == []


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
        manifest = read_manifest(ticket.files) or {}
        manifest["fingerprint"]["inputs"]["mask"] = "of another mask"
        write_json(ticket.files.manifest, manifest)
        assert "inputs.mask" in refused(config)

    @pytest.mark.parametrize("content", [b"{", b'{"format_version": 99}', b"[]"])
    def test_a_manifest_that_cannot_be_read(self, tmp_path: Path, content: bytes) -> None:
        config = tiny_config(tmp_path)
        dense = write_dense(config)
        write_bytes(dense.files.manifest, content)
        assert str(dense.files.manifest) in refused(config)


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
        write_json(dense.files.manifest, (read_manifest(dense.files) or {}) | {"replay": "released"})
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
        assert "'tiket'; choose from: dense, mask, ticket" in refused(tiny_config(tmp_path), stages=("dense", "tiket"))

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
    planned = jobs(config, job(config, "mask").arm, ("ticket", "dense"))
    assert [(j.stage, j.seed) for j in planned] == [("dense", 3), ("dense", 4), ("ticket", 3), ("ticket", 4)]
    assert prerequisites(planned) == [None, None, 0, 1]


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
