# SPDX-License-Identifier: Apache-2.0
"""How many CPUs a control group leaves to the process."""

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
