// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

// The only threads of octavo: one process-wide pool of workers, started on demand, that spin for a
// moment after a job (the next step of a network follows within microseconds) and then sleep.
namespace octavo {

// Half-open range of tasks.
struct TaskSlice {
  int64_t begin, end;
};

// Slice `worker` of `workers` contiguous slices of nearly equal length, longer ones first.
inline TaskSlice task_slice(int64_t tasks, int workers, int worker) {
  const int64_t base = tasks / workers, longer = tasks % workers;
  const int64_t begin = base * worker + (worker < longer ? worker : longer);
  return {begin, begin + base + (worker < longer ? 1 : 0)};
}

using ParallelFn = void (*)(void* context, int64_t begin, int64_t end, int worker);

// Calls fn on disjoint ranges that cover [0, tasks) and returns when all calls have. There are
// min(threads, tasks) slices of a few chunks. A thread does its own slice first, so that
// consecutive steps give the same rows to the same core, which has them in its cache: at once if it
// is short, else chunk by chunk. Then it takes chunks that others have not begun. The caller can do
// everything alone: it waits for calls in progress only, never for a worker that sleeps or has lost
// its CPU to somebody else.
//
// `worker` is below `threads`, the caller's is 0, and no two calls at the same time share it, so it
// can index scratch memory. Which thread gets which chunk is a matter of timing: results must not
// depend on it. fn must not throw. Nothing is called when tasks <= 0.
//
// fn is called once, as fn(context, 0, tasks, 0), when threads or tasks is 1, inside another
// parallel_for, when another thread holds the pool, when there is one CPU, or when no worker is
// awake and none can be started or should be woken (WakeScope). There are never more workers than
// other CPUs.
//
// After fork() the child gets a pool of its own at its first call.
void parallel_for(int threads, int64_t tasks, ParallelFn fn, void* context) noexcept;

// The same with a callable `body(begin, end, worker)`.
template <class Body>
void parallel_for(int threads, int64_t tasks, Body&& body) noexcept {
  using Value = std::remove_cv_t<std::remove_reference_t<Body>>;
  parallel_for(
      threads, tasks,
      [](void* context, int64_t begin, int64_t end, int worker) {
        (*static_cast<Value*>(context))(begin, end, worker);
      },
      const_cast<Value*>(std::addressof(body)));
}

// To wake a sleeping worker costs some 50 us before it does anything, and its CPU's sleep. Within a
// WakeScope(false) on the same thread parallel_for uses workers only if they are awake.
class WakeScope {
 public:
  explicit WakeScope(bool allowed) noexcept;
  ~WakeScope();
  WakeScope(const WakeScope&) = delete;
  WakeScope& operator=(const WakeScope&) = delete;

 private:
  bool before_;
};

// For tests. cpus: what the pool takes for the number of CPUs, 0 for the truth. delay_us: how long
// a worker looks away before it takes part in a job.
void set_parallel_test_hooks(int cpus, int delay_us) noexcept;

}  // namespace octavo
