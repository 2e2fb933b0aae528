// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>

#include "base/cpus.h"
#include "base/fpenv.h"
#include "base/job_board.h"

namespace octavo {
namespace {

constexpr int kMaxThreads = JobBoard::kMaxSlices;

// A spinning worker joins within 0.2-0.4 us, a sleeping one after 45-50 us (docs/performance.md):
// one that waits for twice the price of a wake-up wastes at most a small multiple of the optimum.
// After kPause it yields: who else wants this CPU, perhaps the very thread waited for, gets it.
constexpr auto kPause = std::chrono::microseconds(20);
constexpr auto kSpin = std::chrono::microseconds(100);

struct TestHooks {
  std::atomic<int> cpus{0}, delay_us{0};
};
TestHooks test_hooks;

struct ThreadState {
  bool inside_parallel = false;
  bool may_wake = true;
};
thread_local ThreadState this_thread;

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
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (Clock::duration spent{0}; spent < kSpin; spent = Clock::now() - start) {
    if (spent >= kPause) sched_yield();
    for (int i = 0; i < (spent < kPause ? 16 : 1); ++i) {
      if (ready()) return true;
      cpu_relax();
    }
  }
  return false;
}

// How many chunks workers have finished since the pool exists, and whether the caller sleeps until
// there are enough. A line of its own: (nearly) every worker writes it once per job.
class alignas(128) Finished {
 public:
  void add(int64_t chunks) {
    const uint64_t before =
        state_.fetch_add(2 * static_cast<uint64_t>(chunks), std::memory_order_acq_rel);
    if ((before & kSleeping) != 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      changed_.notify_one();
    }
  }

  void wait_for(uint64_t total) {
    const auto reached = [&] { return state_.load(std::memory_order_acquire) >> 1 == total; };
    if (reached() || spin_until(reached)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    state_.fetch_or(kSleeping, std::memory_order_acq_rel);
    changed_.wait(lock, reached);
    state_.fetch_and(~kSleeping, std::memory_order_acq_rel);
  }

 private:
  static constexpr uint64_t kSleeping = 1;
  std::atomic<uint64_t> state_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

class Pool {
 public:
  Pool() : cpus_(available_cpus()) {}

  bool try_acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
  void release() { busy_.store(false, std::memory_order_release); }

  // Needs the pool acquired.
  void run(int threads, int64_t tasks, ParallelFn fn, void* context) {
    const int useful = std::min(threads, cpus()) - 1;
    if (useful < 1 || !rouse(useful)) {
      fn(context, 0, tasks, 0);
      return;
    }
    const JobTicket ticket = board_.post({fn, context, tasks}, threads);
    expected_ += static_cast<uint64_t>(ticket.chunks() - board_.work(ticket, 0));
    finished_.wait_for(expected_);
  }

 private:
  struct alignas(128) Worker {
    Pool* pool;
    int index;
    std::atomic<bool> asleep{false};  // written under the mutex
    std::mutex mutex;
    std::condition_variable wake_up;
  };

  static void* worker_main(void* argument) {
    Worker& self = *static_cast<Worker*>(argument);
    const ScopedFpEnv fp_env;  // a thread inherits its creator's environment
    this_thread.inside_parallel = true;
    JobTicket ticket;
    for (;;) {
      ticket = self.pool->next_job(&self, ticket);
      const int64_t chunks = self.pool->board_.work(ticket, self.index);
      if (chunks > 0) self.pool->finished_.add(chunks);
    }
  }

  JobTicket next_job(Worker* worker, JobTicket last) {
    const auto posted = [&] { return board_.current() != last; };
    while (!spin_until(posted)) {
      std::unique_lock<std::mutex> lock(worker->mutex);
      worker->asleep.store(true, std::memory_order_relaxed);
      asleep_.fetch_add(1, std::memory_order_relaxed);
      worker->wake_up.wait(
          lock, [&] { return !worker->asleep.load(std::memory_order_relaxed) || posted(); });
      worker->asleep.store(false, std::memory_order_relaxed);
      asleep_.fetch_sub(1, std::memory_order_relaxed);
    }
    const int delay = test_hooks.delay_us.load(std::memory_order_relaxed);
    if (delay > 0) {
      const timespec time{delay / 1000000, delay % 1000000 * 1000};
      nanosleep(&time, nullptr);
    }
    return board_.current();
  }

  // Makes sure that some of the first `count` workers are awake, all if the caller may wake them. A
  // worker that falls asleep right now is missed; the next job wakes it.
  bool rouse(int count) {
    if (count_ < count) grow(count);
    count = std::min(count, count_);
    const int asleep = asleep_.load(std::memory_order_relaxed);
    if (asleep == 0) return count > 0;
    if (!this_thread.may_wake) return asleep < count_;
    for (int i = 0; i < count; ++i) {
      Worker& worker = *workers_[i];
      if (!worker.asleep.load(std::memory_order_relaxed)) continue;
      // Whoever holds the lock is about to sleep; not worth waiting for.
      std::unique_lock<std::mutex> lock(worker.mutex, std::try_to_lock);
      if (!lock.owns_lock()) continue;
      worker.asleep.store(false, std::memory_order_relaxed);
      worker.wake_up.notify_one();
    }
    return count > 0;
  }

  void grow(int wanted) {
    while (count_ < wanted && start_worker()) ++count_;
  }

  bool start_worker() {
    Worker* worker = new (std::nothrow) Worker{this, count_ + 1, {}, {}, {}};
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

  int cpus() const {
    const int cpus = test_hooks.cpus.load(std::memory_order_relaxed);
    return cpus > 0 ? cpus : cpus_;
  }

  // What the caller writes, what everybody writes and what nobody writes, apart.
  alignas(128) std::atomic<bool> busy_{false};
  uint64_t expected_ = 0;  // Finished, once the current job is done
  JobBoard board_;
  Finished finished_;
  alignas(128) std::atomic<int> asleep_{0};
  const int cpus_;
  int count_ = 0;
  Worker* workers_[kMaxThreads - 1] = {};
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
  ThreadState& self = this_thread;
  Pool* workers = wanted > 1 && !self.inside_parallel ? pool() : nullptr;
  if (workers == nullptr || !workers->try_acquire()) {
    fn(context, 0, tasks, 0);
    return;
  }
  self.inside_parallel = true;
  workers->run(wanted, tasks, fn, context);
  self.inside_parallel = false;
  workers->release();
}

WakeScope::WakeScope(bool allowed) noexcept : before_(this_thread.may_wake) {
  this_thread.may_wake = before_ && allowed;
}

WakeScope::~WakeScope() { this_thread.may_wake = before_; }

void set_parallel_test_hooks(int cpus, int delay_us) noexcept {
  test_hooks.cpus.store(cpus, std::memory_order_relaxed);
  test_hooks.delay_us.store(delay_us, std::memory_order_relaxed);
}

}  // namespace octavo
