// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <pthread.h>
#include <signal.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>

#include "base/fpenv.h"

namespace octavo {
namespace {

constexpr int kMaxThreads = 256;
// Waking a sleeping thread costs 45-50 us, a spinning one 0.2-0.4 us (docs/performance.md), so a
// worker that spins for as long as a wake-up costs wastes at most twice the optimum.
constexpr auto kSpin = std::chrono::microseconds(50);

void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Polls `ready` for about kSpin; true as soon as it holds.
template <class Ready>
bool spin_until(Ready ready) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      cpu_relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

struct Job {
  ParallelFn fn;
  void* context;
  TaskSlice slice;
};

// Counts the workers that still run, and lets one thread sleep until there are none.
class Countdown {
 public:
  void start(int count) {
    state_.store(2u * static_cast<uint32_t>(count), std::memory_order_relaxed);
  }

  void finish_one() {
    const uint32_t before = state_.fetch_sub(2, std::memory_order_acq_rel);
    if (before == (2u | kSleeping)) {
      std::lock_guard<std::mutex> lock(mutex_);
      done_.notify_one();
    }
  }

  void wait(bool spin) {
    if (spin && spin_until([&] { return state_.load(std::memory_order_acquire) == 0; })) return;
    std::unique_lock<std::mutex> lock(mutex_);
    state_.fetch_or(kSleeping, std::memory_order_acq_rel);
    done_.wait(lock, [&] { return state_.load(std::memory_order_acquire) == kSleeping; });
  }

 private:
  static constexpr uint32_t kSleeping = 1;  // lowest bit: the waiter needs a notification
  std::atomic<uint32_t> state_{0};
  std::mutex mutex_;
  std::condition_variable done_;
};

// One worker's mailbox, on cache lines of its own (two: adjacent lines are prefetched in pairs).
class alignas(128) Mailbox {
 public:
  // Only while the worker is idle, that is before its first job or after its Countdown step.
  void post(const Job& job) {
    job_ = job;
    if (state_.exchange(kFull, std::memory_order_acq_rel) == kAsleep) {
      std::lock_guard<std::mutex> lock(mutex_);
      filled_.notify_one();
    }
  }

  Job take(bool spin) {
    if (!(spin && spin_until([&] { return full(); }))) {
      std::unique_lock<std::mutex> lock(mutex_);
      uint32_t expected = kEmpty;
      // Fails when a job arrived meanwhile. The lock is held until wait() sleeps, so post() cannot
      // notify in between.
      if (state_.compare_exchange_strong(expected, kAsleep, std::memory_order_acq_rel)) {
        filled_.wait(lock, [&] { return full(); });
      }
    }
    const Job job = job_;
    state_.store(kEmpty, std::memory_order_relaxed);  // published by Countdown::finish_one
    return job;
  }

 private:
  enum : uint32_t { kEmpty, kFull, kAsleep };
  bool full() const { return state_.load(std::memory_order_acquire) == kFull; }

  std::atomic<uint32_t> state_{kEmpty};
  Job job_{};
  std::mutex mutex_;
  std::condition_variable filled_;
};

thread_local bool inside_parallel = false;

class Pool {
 public:
  Pool() : cpus_(available_cpus()) {}

  bool try_acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
  void release() { busy_.store(false, std::memory_order_release); }

  // Needs the pool acquired. Runs on up to `threads` threads, the caller included.
  void run(int threads, int64_t tasks, ParallelFn fn, void* context) {
    const int workers = 1 + grow(threads - 1);
    spin_.store(workers <= cpus_, std::memory_order_relaxed);
    remaining_.start(workers - 1);
    for (int w = 1; w < workers; ++w) {
      workers_[w - 1]->mailbox.post({fn, context, task_slice(tasks, workers, w)});
    }
    const TaskSlice own = task_slice(tasks, workers, 0);
    fn(context, own.begin, own.end, 0);
    if (workers > 1) remaining_.wait(spin_.load(std::memory_order_relaxed));
  }

 private:
  struct Worker {
    Pool* pool;
    int index;
    Mailbox mailbox;
  };

  static void* worker_main(void* argument) {
    Worker& self = *static_cast<Worker*>(argument);
    const ScopedFpEnv fp_env;  // a thread inherits its creator's environment
    inside_parallel = true;
    for (;;) {
      const Job job = self.mailbox.take(self.pool->spin_.load(std::memory_order_relaxed));
      job.fn(job.context, job.slice.begin, job.slice.end, self.index);
      self.pool->remaining_.finish_one();
    }
  }

  // Starts workers until there are `wanted`; returns how many of them there are.
  int grow(int wanted) {
    while (count_ < wanted && start_worker()) ++count_;
    return std::min(count_, wanted);
  }

  bool start_worker() {
    Worker* worker = new (std::nothrow) Worker{this, count_ + 1, {}};
    if (worker == nullptr) return false;
    // Signals belong to the program's own threads.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    pthread_t thread;
    const int error = pthread_create(&thread, nullptr, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
    if (error != 0) {
      delete worker;
      return false;
    }
    pthread_detach(thread);
    workers_[count_] = worker;
    return true;
  }

  const int cpus_;
  std::atomic<bool> busy_{false};
  std::atomic<bool> spin_{true};  // off when there are more threads than CPUs
  int count_ = 0;
  Worker* workers_[kMaxThreads - 1] = {};
  Countdown remaining_;
};

// Never destroyed: detached workers sleep in it until the process ends. After fork() the child
// forgets it, because its workers exist only in the parent.
std::atomic<Pool*> the_pool{nullptr};

void forget_pool_in_child() { the_pool.store(nullptr, std::memory_order_relaxed); }

// nullptr when out of memory.
Pool* pool() {
  Pool* current = the_pool.load(std::memory_order_acquire);
  if (current != nullptr) return current;
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool_in_child);
  if (registered != 0) return nullptr;  // without the handler a fork would hang the child
  Pool* created = new (std::nothrow) Pool;
  if (the_pool.compare_exchange_strong(current, created, std::memory_order_acq_rel)) return created;
  delete created;
  return current;
}

}  // namespace

void parallel_for(int threads, int64_t tasks, ParallelFn fn, void* context) noexcept {
  if (tasks <= 0) return;
  const int wanted = static_cast<int>(std::min<int64_t>({threads, tasks, kMaxThreads}));
  Pool* workers = wanted > 1 && !inside_parallel ? pool() : nullptr;
  if (workers == nullptr || !workers->try_acquire()) {
    fn(context, 0, tasks, 0);
    return;
  }
  inside_parallel = true;
  workers->run(wanted, tasks, fn, context);
  inside_parallel = false;
  workers->release();
}

int available_cpus() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace octavo
