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
  JobTicket(uint64_t number, int slices, int chunks_per_slice, bool at_once)
      : word_(number << 16 | static_cast<uint64_t>(slices - 1) << 8 |
              static_cast<uint64_t>(chunks_per_slice) << 1 | (at_once ? 1 : 0)) {}
  explicit JobTicket(uint64_t word) : word_(word) {}

  uint64_t word() const { return word_; }
  uint64_t number() const { return word_ >> 16; }
  int slices() const { return static_cast<int>(word_ >> 8 & 0xff) + 1; }
  int chunks_per_slice() const { return static_cast<int>(word_ >> 1 & 0x7f); }
  bool at_once() const { return (word_ & 1) != 0; }  // owners take what is left of their slice
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
    const int64_t slice = job.tasks / slices;
    const int chunks = static_cast<int>(std::min<int64_t>(kChunks, slice));
    const JobTicket ticket(current().number() + 1, slices, chunks, slice < kLongSlice);
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
      for (;;) {
        const Chunks chunks = take(slice, ticket, i == 0);
        if (chunks.count == 0) break;
        run(ticket, slice, chunks, worker);
        done += chunks.count;
      }
    }
    return done;
  }

 private:
  // Enough for a late worker to find something left.
  static constexpr int kChunks = 4;
  // A task is a row or a few, and every call may read all weights of a layer: an owner cuts up its
  // slice, for others to help, only where chunks stay long. ResNet-18's 7x7 layers (13
  // tasks) lost a sixth of their speed when they were cut.
  static constexpr int64_t kLongSlice = 128;

  struct Chunks {
    int first, count;
  };

  // The last job that took chunks of this slice, and how many from its front and its back. Nobody
  // resets it: the first to take one for a newer job does. So a slice that nobody else takes from
  // stays in its owner's cache.
  struct alignas(128) Slice {
    std::atomic<uint64_t> taken{0};  // number << 16 | back << 8 | front
  };

  // The owner takes from the front, others one from the back. None when all are taken, or the job
  // is over. Success means that the job is not, for it ends after all its chunks.
  Chunks take(int slice, JobTicket ticket, bool owner) {
    std::atomic<uint64_t>& taken = slices_[slice].taken;
    uint64_t seen = taken.load(std::memory_order_relaxed);
    for (;;) {
      const uint64_t number = seen >> 16;
      if (number > ticket.number()) return {0, 0};
      const uint64_t now = number == ticket.number() ? seen : ticket.number() << 16;
      const int front = static_cast<int>(now & 0xff), back = static_cast<int>(now >> 8 & 0xff);
      const int left = ticket.chunks_per_slice() - front - back;
      if (left == 0) return {0, 0};
      const int count = owner && ticket.at_once() ? left : 1;
      const uint64_t mine = static_cast<uint64_t>(count) << (owner ? 0 : 8);
      if (taken.compare_exchange_weak(seen, now + mine, std::memory_order_relaxed)) {
        return {owner ? front : front + left - 1, count};
      }
    }
  }

  void run(JobTicket ticket, int slice, Chunks chunks, int worker) const {
    const ParallelJob& job = job_;
    const TaskSlice whole = task_slice(job.tasks, ticket.slices(), slice);
    const auto chunk = [&](int index) {
      return task_slice(whole.end - whole.begin, ticket.chunks_per_slice(), index);
    };
    const int64_t begin = whole.begin + chunk(chunks.first).begin;
    const int64_t end = whole.begin + chunk(chunks.first + chunks.count - 1).end;
    job.fn(job.context, begin, end, worker);
  }

  // Job and ticket share a line, which is all a spinning worker has to fetch.
  alignas(128) ParallelJob job_{};
  std::atomic<uint64_t> ticket_{0};
  Slice slices_[kMaxSlices];
};

}  // namespace octavo
