"""What made-up trees of files say of control groups, as machines, containers and Slurm have them."""

from pathlib import Path

import pytest

from rlottery.study.execution.cgroups import cpu_quota, memory_left

V2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def tree(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    files = {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups} | files
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize("content", ["50000 100000\n", "500 1000\n"])
def test_a_quota_of_version_2(tmp_path: Path, content: str) -> None:
    root = tree(tmp_path, V2, "0::/job\n", {"sys/fs/cgroup/job/cpu.max": content})
    assert cpu_quota(root) == (0.5, "/sys/fs/cgroup/job/cpu.max")


def test_a_quota_of_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/cpu,cpuacct/case"
    files = {f"{folder}/cpu.cfs_quota_us": "250000\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    root = tree(tmp_path, V1, "4:memory:/\n1:cpu,cpuacct:/case\n0::/\n", files)
    assert cpu_quota(root) == (2.5, "/sys/fs/cgroup/cpu,cpuacct/case/cpu.cfs_quota_us")


def test_the_tightest_on_the_way_to_the_top(tmp_path: Path) -> None:
    above = "sys/fs/cgroup/slurm"
    files = {
        f"{above}/job_7/step_0/cpu.max": "max 100000",
        f"{above}/job_7/cpu.max": "400000 100000",
        f"{above}/cpu.max": "800000 100000",
        f"{above}/job_7/step_0/memory.max": "max",
        f"{above}/job_7/memory.high": "3000",
        f"{above}/job_7/memory.max": "4000",
        f"{above}/job_7/memory.current": "1500",
        f"{above}/job_7/memory.stat": "anon 900\nfile 600\ninactive_file 500\n",
        f"{above}/memory.max": "9000",
        f"{above}/other/cpu.max": "1 100000",
    }
    root = tree(tmp_path, V2, "0::/slurm/job_7/step_0\n", files)
    assert cpu_quota(root) == (4.0, "/sys/fs/cgroup/slurm/job_7/cpu.max")
    assert memory_left(root) == (2000.0, "/sys/fs/cgroup/slurm/job_7/memory.high")


def test_memory_of_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory/case"
    files = {
        f"{folder}/memory.limit_in_bytes": "600000000",
        f"{folder}/memory.usage_in_bytes": "200000000",
        f"{folder}/memory.stat": "inactive_file 1\ntotal_inactive_file 50000000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
    }
    root = tree(tmp_path, V1, "4:memory:/case\n", files)
    assert memory_left(root) == (450e6, "/sys/fs/cgroup/memory/case/memory.limit_in_bytes")


def test_more_used_than_allowed_leaves_nothing(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "2000"}
    found = memory_left(tree(tmp_path, V2, "0::/\n", files))
    assert found is not None and found.value == 0.0


@pytest.mark.parametrize(
    ("shown", "group"), [("/docker/abc", "/docker/abc"), ("/docker/abc", "/"), ("/", "/../../x"), ("/", "/docker/abc")]
)
def test_in_a_container_its_own_group_is_at_the_top(tmp_path: Path, shown: str, group: str) -> None:
    mounts = f"32 31 0:29 {shown} /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    root = tree(tmp_path, mounts, f"0::{group}\n", {"sys/fs/cgroup/cpu.max": "100000 50000"})
    assert cpu_quota(root) == (2.0, "/sys/fs/cgroup/cpu.max")


def test_a_group_below_that_of_the_container(tmp_path: Path) -> None:
    mounts = "32 31 0:29 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    root = tree(tmp_path, mounts, "0::/docker/abc/in\n", {"sys/fs/cgroup/in/cpu.max": "100000 50000"})
    assert cpu_quota(root) == (2.0, "/sys/fs/cgroup/in/cpu.max")


def test_both_versions_at_once(tmp_path: Path) -> None:
    mounts = V1 + "41 31 0:38 / /sys/fs/cgroup/unified\\040two rw - cgroup2 cgroup2 rw\n"
    cpu, memory = "sys/fs/cgroup/unified two/a/cpu.max", "sys/fs/cgroup/memory/b/memory.limit_in_bytes"
    root = tree(tmp_path, mounts, "4:memory:/b\n9:name=systemd:/x\n0::/a\n", {cpu: "100000 100000", memory: "7"})
    assert cpu_quota(root) == (1.0, f"/{cpu}")
    assert memory_left(root) == (7.0, f"/{memory}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cpu.max", "max 100000"),
        ("cpu.max", ""),
        ("cpu.max", "100"),
        ("cpu.max", "5 0"),
        ("cpu.max", "many few"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_period_us", "100000"),
        ("memory.max", "max"),
        ("memory.max", ""),
        ("memory.limit_in_bytes", "9223372036854771712"),
    ],
)
def test_what_is_no_limit(tmp_path: Path, name: str, content: str) -> None:
    root = tree(tmp_path, V2, "0::/\n", {f"sys/fs/cgroup/{name}": content})
    assert cpu_quota(root) is None and memory_left(root) is None


def test_a_system_without_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None and memory_left(tmp_path) is None
    assert cpu_quota(tree(tmp_path, "nonsense\n\n", "x\n1:cpu\n", {})) is None
