// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

// The only threads of octavo: one process-wide pool of workers, grown on demand, that spin for a
// moment after a job (the next step of a network follows within microseconds) and then sleep.
namespace octavo {

// Half-open range of tasks.
struct TaskSlice {
  int64_t begin, end;
};

// Slice `worker` of `workers` contiguous slices of nearly equal length, longer ones first. Static,
// so that consecutive steps give the same rows to the same core, which has them in its cache.
inline TaskSlice task_slice(int64_t tasks, int workers, int worker) {
  const int64_t base = tasks / workers, longer = tasks % workers;
  const int64_t begin = base * worker + (worker < longer ? worker : longer);
  return {begin, begin + base + (worker < longer ? 1 : 0)};
}

using ParallelFn = void (*)(void* context, int64_t begin, int64_t end, int worker);

// Calls fn on disjoint slices that cover [0, tasks), from at most min(threads, tasks) threads, and
// returns when all have finished. Slice 0 runs on the calling thread; `worker` is below `threads`
// and no two slices that run at the same time share it, so it can index scratch memory.
//
// fn is called once, as fn(context, 0, tasks, 0), when threads or tasks is 1, inside another
// parallel_for, when another thread holds the pool, or when no thread can be created; so results
// must not depend on the number of slices. fn must not throw. Nothing is called when tasks <= 0.
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

// CPUs this process may run on (its affinity mask), at least 1.
int available_cpus();

}  // namespace octavo
