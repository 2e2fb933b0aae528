# SPDX-License-Identifier: Apache-2.0
"""How many CPUs a control group leaves to the process, and what the system tells about them."""

from __future__ import annotations

from pathlib import Path

import pytest

from octavo import _core


def group(mount: Path, path: str, **files: str) -> None:
    directory = mount / path.strip("/")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".", 1)).write_text(text)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000\n", 0),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("5000 100000\n", 1),
        ("0 0\n", 0),
        ("", 0),
        ("nonsense", 0),
        ("-1 100000\n", 0),
        ("99999999999999999999 1\n", 0),
    ],
)
def test_cgroup_version_2(text: str, cpus: int, tmp_path: Path) -> None:
    (tmp_path / "self").write_text("0::/a/b\n")
    group(tmp_path, "a/b", cpu_max=text)
    assert _core.cgroup_quota_cpus(str(tmp_path / "self"), str(tmp_path)) == cpus


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    (tmp_path / "self").write_text("7:memory:/x\n0::/a/b/c\n")
    group(tmp_path, "a", cpu_max="300000 100000")
    group(tmp_path, "a/b", cpu_max="400000 100000")
    group(tmp_path, "a/b/c", cpu_max="max 100000")
    assert _core.cgroup_quota_cpus(str(tmp_path / "self"), str(tmp_path)) == 3
    group(tmp_path, "", cpu_max="200000 100000")
    assert _core.cgroup_quota_cpus(str(tmp_path / "self"), str(tmp_path)) == 2


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 0), ("250000", 3)])
def test_cgroup_version_1(quota: str, cpus: int, tmp_path: Path) -> None:
    (tmp_path / "self").write_text("3:cpuset:/\n2:cpuacct,cpu:/job\n0::/\n")
    directory = tmp_path / "cpu" / "job"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text(quota)
    (directory / "cpu.cfs_period_us").write_text("100000")
    assert _core.cgroup_quota_cpus(str(tmp_path / "self"), str(tmp_path)) == cpus


def test_no_cgroups(tmp_path: Path) -> None:
    assert _core.cgroup_quota_cpus(str(tmp_path / "none"), str(tmp_path)) == 0


def test_caches_of_sysfs(tmp_path: Path) -> None:
    described = [("1", "Data", "32K"), ("1", "Instruction", "48K"), ("2", "Unified", "1M")]
    for index, (level, kind, size) in enumerate(described):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    assert _core.sysfs_caches(str(tmp_path)) == {"l1d": 32 << 10, "l2": 1 << 20, "l3": 0}
    (tmp_path / "index2/size").write_text("-5K")
    (tmp_path / "index0/type").unlink()
    assert _core.sysfs_caches(str(tmp_path))["l2"] == 0
    assert _core.sysfs_caches(str(tmp_path / "absent")) == {"l1d": 0, "l2": 0, "l3": 0}


def cpuinfo(*cores: tuple[int, int]) -> str:
    """As on Linux for Arm."""
    return "".join(
        f"processor\t: {index}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd crc32 cpuid\n"
        f"CPU implementer\t: 0x{implementer:02x}\nCPU architecture: 8\nCPU variant\t: 0x0\n"
        f"CPU part\t: 0x{part:03x}\nCPU revision\t: 3\n\n"
        for index, (implementer, part) in enumerate(cores)
    )


@pytest.mark.parametrize(
    ("cores", "named"),
    [
        ([(0x41, 0xD08)] * 4, "Cortex-A72"),
        ([(0x41, 0xD05)] * 4 + [(0x41, 0xD0B)] * 2, "Cortex-A55 + Cortex-A76"),
        ([(0x61, 0x022), (0x61, 0x023)], "Apple M1 Icestorm + Apple M1 Firestorm"),
        ([(0x41, 0xFFF)], "Arm core 0xfff of implementer 0x41"),
        ([(0x77, 0xD03)], "Arm core 0xd03 of implementer 0x77"),
        ([], ""),
    ],
)
def test_arm_cores(cores: list[tuple[int, int]], named: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo(*cores))
    assert _core.arm_cores(str(tmp_path / "cpuinfo")) == named


def test_no_arm_cores_in_the_file_of_another_architecture(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n")
    assert _core.arm_cores(str(tmp_path / "cpuinfo")) == ""
    assert _core.arm_cores(str(tmp_path / "absent")) == ""
