// Work split over XLA's thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace sparl {

// Calls task(i) once for every i from 0 to count - 1, on the calling thread and on idle ones of the
// pool; returns when all are done. Tasks must not depend on each other, and which thread runs one
// must not change what it computes: then results do not depend on the number of threads.
//
// The calling thread is itself one of the pool's, so it must never wait for a thread that may not
// come: two handlers that do so wait for each other. It takes tasks like everybody else until none
// is left, and then waits only for those that another thread has begun. A helper that comes too
// late finds no task, and touches nothing but the counters, which it owns with the others.
template <typename Task>
void ParallelFor(const xla::ffi::ThreadPool& pool, int64_t count, const Task& task) {
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  struct Counters {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto counters = std::make_shared<Counters>();
  auto work = [counters, count, &task] {
    for (int64_t i; (i = counters->next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      task(i);
      counters->done.fetch_add(1, std::memory_order_release);
    }
  };
  auto schedulable = pool;
  for (int64_t h = 0; h < helpers; ++h) schedulable.Schedule(decltype(work)(work));
  work();
  for (int spins = 0; counters->done.load(std::memory_order_acquire) < count; ++spins) {
    if (spins > 1000) std::this_thread::yield();
  }
}

}  // namespace sparl
