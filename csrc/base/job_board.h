// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/parallel.h"

namespace octavo {

struct ParallelJob {
  ParallelFn fn;
  void* context;
  int64_t tasks;
};

// One posted job in a word: its number, and into how many chunks it is cut. A thread that read a
// ticket long ago can tell from it alone, without looking at a job that may be gone, that there is
// nothing left to take.
class JobTicket {
 public:
  JobTicket() = default;
  JobTicket(uint64_t number, int slices, int chunks_per_slice)
      : word_(number << 16 | static_cast<uint64_t>(slices - 1) << 8 |
              static_cast<uint64_t>(chunks_per_slice)) {}
  explicit JobTicket(uint64_t word) : word_(word) {}

  uint64_t word() const { return word_; }
  uint64_t number() const { return word_ >> 16; }
  int slices() const { return static_cast<int>(word_ >> 8 & 0xff) + 1; }
  int chunks_per_slice() const { return static_cast<int>(word_ & 0xff); }
  int64_t chunks() const { return int64_t{slices()} * chunks_per_slice(); }
  bool operator!=(JobTicket other) const { return word_ != other.word_; }

 private:
  uint64_t word_ = 0;
};

// Where one thread at a time posts a job and any number of threads take chunks of it. The next job
// may be posted when all chunks are finished, no matter who still looks at this one.
class JobBoard {
 public:
  static constexpr int kMaxSlices = 256;

  // To be called by one thread at a time, when nothing of the previous job is left or in progress.
  JobTicket post(const ParallelJob& job, int slices) {
    const int chunks = static_cast<int>(std::min<int64_t>(kChunks, job.tasks / slices));
    const JobTicket ticket(current().number() + 1, slices, chunks);
    job_ = job;
    ticket_.store(ticket.word(), std::memory_order_release);
    return ticket;
  }

  JobTicket current() const { return JobTicket(ticket_.load(std::memory_order_acquire)); }

  // Does chunks as thread `worker` until all have been taken; returns how many. No more than one
  // thread per number; numbers beyond the slices have nothing to do.
  int64_t work(JobTicket ticket, int worker) {
    const int slices = ticket.slices();
    if (worker >= slices) return 0;
    int64_t done = 0;
    for (int i = 0; i < slices; ++i) {
      const int slice = worker + i < slices ? worker + i : worker + i - slices;
      for (int chunk; (chunk = take(slice, ticket, i == 0)) >= 0; ++done) {
        run_chunk(ticket, slice, chunk, worker);
      }
    }
    return done;
  }

 private:
  // Enough for a late worker to find something left; more would read weights more often.
  static constexpr int kChunks = 4;

  // The last job that took chunks of this slice, and how many from its front and its back. Nobody
  // resets it: the first to take one for a newer job does. So a slice that nobody else takes from
  // stays in its owner's cache.
  struct alignas(128) Slice {
    std::atomic<uint64_t> taken{0};  // number << 16 | back << 8 | front
  };

  // The owner takes from the front, others from the back. -1 when all are taken, or the job is
  // over. Success means that the job is not, for it ends after all its chunks.
  int take(int slice, JobTicket ticket, bool front) {
    std::atomic<uint64_t>& taken = slices_[slice].taken;
    uint64_t seen = taken.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t number = seen >> 16;
      if (number > ticket.number()) return -1;
      const uint64_t now = number == ticket.number() ? seen : ticket.number() << 16;
      const int from_front = static_cast<int>(now & 0xff);
      const int from_back = static_cast<int>(now >> 8 & 0xff);
      if (from_front + from_back >= ticket.chunks_per_slice()) return -1;
      if (taken.compare_exchange_weak(seen, now + (front ? 1 : 1 << 8),
                                      std::memory_order_relaxed)) {
        return front ? from_front : ticket.chunks_per_slice() - 1 - from_back;
      }
    }
  }

  void run_chunk(JobTicket ticket, int slice, int chunk, int worker) const {
    const ParallelJob& job = job_;
    const TaskSlice whole = task_slice(job.tasks, ticket.slices(), slice);
    const TaskSlice part = task_slice(whole.end - whole.begin, ticket.chunks_per_slice(), chunk);
    job.fn(job.context, whole.begin + part.begin, whole.begin + part.end, worker);
  }

  // Job and ticket share a line, which is all a spinning worker has to fetch.
  alignas(128) ParallelJob job_{};
  std::atomic<uint64_t> ticket_{0};
  Slice slices_[kMaxSlices];
};

}  // namespace octavo
