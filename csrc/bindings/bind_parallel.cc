// SPDX-License-Identifier: Apache-2.0
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "base/cpus.h"
#include "base/parallel.h"

namespace py = pybind11;

namespace octavo {
namespace {

using Call = std::tuple<int64_t, int64_t, int>;  // begin, end, worker

void work_for(int64_t microseconds) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + std::chrono::microseconds(microseconds);
  while (Clock::now() < end) {
  }
}

// The calls that parallel_for made, in the order in which they ended; each task takes `task_us`.
std::vector<Call> parallel_calls(int threads, int64_t tasks, int64_t task_us, bool wake) {
  const py::gil_scoped_release nogil;
  const WakeScope scope(wake);
  std::mutex mutex;
  std::vector<Call> calls;
  parallel_for(threads, tasks, [&](int64_t begin, int64_t end, int worker) {
    if (task_us > 0) work_for((end - begin) * task_us);
    const std::lock_guard<std::mutex> lock(mutex);
    calls.emplace_back(begin, end, worker);
  });
  return calls;
}

// Sum of 0..tasks-1, `repeat` times, each call through a nested parallel_for of its own. Partial
// sums are kept by worker without a lock: two calls with one number at a time would lose some.
int64_t parallel_sum(int threads, int64_t tasks, int repeat) {
  const py::gil_scoped_release nogil;
  int64_t total = 0;
  for (int r = 0; r < repeat; ++r) {
    std::vector<int64_t> partial(static_cast<size_t>(threads > 0 ? threads : 1), 0);
    parallel_for(threads, tasks, [&](int64_t begin, int64_t end, int worker) {
      int64_t sum = 0;
      parallel_for(threads, end - begin, [&](int64_t inner_begin, int64_t inner_end, int) {
        for (int64_t i = inner_begin; i < inner_end; ++i) sum += begin + i;
      });
      partial[static_cast<size_t>(worker)] += sum;
    });
    for (const int64_t value : partial) total += value;
  }
  return total;
}

}  // namespace

void bind_parallel(py::module_& m) {
  m.def("parallel_calls", &parallel_calls, py::arg("threads"), py::arg("tasks"),
        py::arg("task_us") = 0, py::arg("wake") = true,
        "The calls (begin, end, worker) that parallel_for made.");
  m.def("parallel_sum", &parallel_sum, py::arg("threads"), py::arg("tasks"), py::arg("repeat") = 1);
  m.def("set_parallel_test_hooks", &set_parallel_test_hooks, py::arg("cpus") = 0,
        py::arg("delay_us") = 0, "See base/parallel.h; without arguments back to normal.");
  m.def(
      "cgroup_quota_cpus",
      [](const std::string& membership, const std::string& mount) {
        return cgroup_quota_cpus(membership.c_str(), mount.c_str());
      },
      py::arg("membership"), py::arg("mount"), "CPUs that a control group's quota amounts to.");
}

}  // namespace octavo
