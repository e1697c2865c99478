"""Which family a task belongs to."""

import pytest

from rlottery.envs.families import FAMILIES, family_of
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld
from rlottery.errors import TaskError


@pytest.mark.parametrize(
    ("task", "family"),
    [
        ("drawer-close-v3", MetaWorld),
        ("Ant-v3", GymnasiumTasks),
        ("module:foo-v3", GymnasiumTasks),
        ("namespace/foo-v3", GymnasiumTasks),
        ("Meta-World/MT1", MetaWorld),
        ("metaworld:Meta-World/MT1", MetaWorld),
        ("Pendulum-v1", GymnasiumTasks),
        ("", GymnasiumTasks),
    ],
)
def test_a_task_belongs_to_a_family_by_its_name(task, family):
    assert isinstance(family_of(task), family)


def test_a_family_includes_the_tasks_that_it_names():
    for family in FAMILIES:
        assert all(family_of(task) is family for task in family.task_names())


@pytest.mark.parametrize("task", ["Meta-World/MT1", "Meta-World/goal_hidden", "metaworld:Meta-World/MT1"])
def test_collections_of_meta_world_tasks_are_refused(task):
    with pytest.raises(TaskError, match="by its own name, such as reach-v3"):
        family_of(task).make(task, {"env_name": "reach-v3"})
