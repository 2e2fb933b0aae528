// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace octavo {

// CPUs worth a thread each: those in this process's affinity mask, or fewer when a control group's
// quota is below; at least 1.
int available_cpus();

// CPUs that a CPU quota amounts to, rounded up, 0 for no quota. `membership` has the format of
// /proc/self/cgroup, `mount` is where control groups are mounted (version 2, or version 1 with the
// controller "cpu" below); the tightest of a group and its ancestors counts. What cannot be read is
// no quota.
int cgroup_quota_cpus(const char* membership, const char* mount);

}  // namespace octavo
