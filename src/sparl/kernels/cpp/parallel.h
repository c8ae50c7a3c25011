// Work split over XLA's thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "trace.h"

namespace sparl {

// Waits for a moment, in which the core's other hardware thread may run, but no other thread does.
// Yielding over and over is no way to wait for microseconds: on a busy machine each yield may give
// away milliseconds (measured beside one niced process per core: forty times the kernel's own
// time).
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Tasks 0 .. count - 1, which threads take one by one as they have time.
class Job {
 public:
  template <typename Task>
  Job(int64_t count, const Task& task)
      : count_(count), task_(&task), run_([](const void* t, int64_t i) {
          (*static_cast<const Task*>(t))(i);
        }),
        left_(static_cast<uint64_t>(count)) {}

  // Does tasks until none is left, and returns how many it did. A thread that comes too late touches only the counter, because
  // the task itself may be gone by then.
  //
  // The caller takes tasks from the first on, helpers from the last down. So tile t of the next job
  // mostly runs on the core that has tile t of this job in its cache.
  int64_t Work(bool helper) {
    int64_t did = 0;
    for (int64_t i; (i = Take(helper)) >= 0; ++did) {
      run_(task_, i);
      // Sequentially consistent, as in Wait: one of the two threads sees what the other wrote.
      if (done_.fetch_add(1) + 1 == count_ && asleep_) {
        std::lock_guard<std::mutex> lock(mutex_);
        changed_.notify_all();
      }
    }
    return did;
  }

  // Waits until all tasks are done. At first it spins, because the other tasks mostly end within
  // microseconds. Then it sleeps, because the thread of another task may have lost its core.
  void Wait() {
    for (int turns = 0; turns < 2000; ++turns) {
      if (Done()) return;
      Pause();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_ = true;
    changed_.wait(lock, [&] { return Done(); });
  }

 private:
  bool Done() const { return done_ == count_; }

  // The number of a task that nobody has taken yet, or -1.
  int64_t Take(bool from_the_end) {
    uint64_t range = left_.load(std::memory_order_relaxed);
    for (;;) {
      const int64_t first = range >> 32, end = range & 0xFFFFFFFF;
      if (first >= end) return -1;
      const uint64_t rest = from_the_end ? range - 1 : range + (uint64_t{1} << 32);
      if (left_.compare_exchange_weak(range, rest, std::memory_order_relaxed)) {
        return from_the_end ? end - 1 : first;
      }
    }
  }

  const int64_t count_;
  const void* const task_;
  void (*const run_)(const void*, int64_t);
  std::atomic<uint64_t> left_;  // the first task not taken and the end, 32 bits each
  std::atomic<int64_t> done_{0};
  std::atomic<bool> asleep_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
};

// A pool that has only the caller's thread.
struct Alone {
  int64_t num_threads() const { return 1; }
  template <typename Work>
  void Schedule(Work) {}
};

// Calls task(i) once for every i from 0 to count - 1, on the calling thread and on idle threads of
// the pool, and returns when all are done. Tasks must not depend on each other, and the thread that
// runs a task must not change what it computes. Then results do not depend on the number of
// threads.
//
// The calling thread is itself one of the pool's, so it must never wait for a thread that may not
// come: two handlers that did would wait for each other. It takes tasks like all others until none
// is left, and then waits only for tasks that another thread has begun.
template <typename Pool, typename Task>
void ParallelFor(Pool pool, int64_t count, const Task& task,
                 const char* where = __builtin_FILE()) {
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
  TracedCall traced(where, count, std::max<int64_t>(helpers, 0) + 1);
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  auto job = std::make_shared<Job>(count, task);
  for (int64_t h = 0; h < helpers; ++h) pool.Schedule([job] { job->Work(true); });
  traced.Waits(job->Work(false));
  job->Wait();
}

}  // namespace sparl
