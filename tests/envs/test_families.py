"""Which family a task belongs to."""

import pytest

from rlottery.envs.families import FAMILIES, family_of
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld


@pytest.mark.parametrize(
    ("task", "family"),
    [
        ("drawer-close-v3", MetaWorld),
        ("Ant-v3", GymnasiumTasks),
        ("module:foo-v3", GymnasiumTasks),
        ("namespace/foo-v3", GymnasiumTasks),
        ("Pendulum-v1", GymnasiumTasks),
        ("", GymnasiumTasks),
    ],
)
def test_a_task_belongs_to_a_family_by_its_name(task, family):
    assert isinstance(family_of(task), family)


def test_a_family_includes_the_tasks_that_it_names():
    for family in FAMILIES:
        assert all(family_of(task) is family for task in family.task_names())
