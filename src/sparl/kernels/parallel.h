// Work split over XLA's thread pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace sparl {

// Tasks 0 .. count - 1, taken one by one by whoever has time.
class Job {
 public:
  template <typename Task>
  Job(int64_t count, const Task& task)
      : count_(count), task_(&task), run_([](const void* t, int64_t i) {
          (*static_cast<const Task*>(t))(i);
        }) {}

  // Does tasks until none is left. One who comes too late touches nothing but the counter: the task
  // itself may be gone by then.
  void Work() {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) {
      run_(task_, i);
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  bool Done() const { return done_.load(std::memory_order_acquire) == count_; }

 private:
  const int64_t count_;
  const void* const task_;
  void (*const run_)(const void*, int64_t);
  std::atomic<int64_t> next_{0}, done_{0};
};

// Threads of the pool that came to help, and stay a moment for the next job: the kernels of one
// update follow each other within microseconds, while waking a thread takes ten and more.
class Crew {
 public:
  // Never destroyed: a helper may outlive everything else at the end of a process.
  static Crew& Instance() {
    static Crew* crew = new Crew;
    return *crew;
  }

  void Post(std::shared_ptr<Job> job) {
    std::lock_guard<std::mutex> lock(mutex_);
    newest_ = std::move(job);
    posted_.fetch_add(1, std::memory_order_release);
  }

  int64_t Waiting() const { return waiting_.load(std::memory_order_relaxed); }

  void Help(std::shared_ptr<Job> job) {
    using Clock = std::chrono::steady_clock;
    waiting_.fetch_add(1, std::memory_order_relaxed);
    uint64_t seen = posted_.load(std::memory_order_acquire);
    auto leave = Clock::now();
    do {
      if (job) {
        job->Work();
        job.reset();
        leave = Clock::now() + std::chrono::microseconds(50);
      }
      const uint64_t posted = posted_.load(std::memory_order_acquire);
      if (posted != seen) {
        std::lock_guard<std::mutex> lock(mutex_);
        seen = posted;
        job = newest_;
      } else {
        std::this_thread::yield();  // a thread with something to do goes first
      }
    } while (job || Clock::now() < leave);
    waiting_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<Job> newest_;
  std::atomic<uint64_t> posted_{0};
  std::atomic<int64_t> waiting_{0};
};

// Calls task(i) once for every i from 0 to count - 1, on the calling thread and on idle ones of the
// pool; returns when all are done. Tasks must not depend on each other, and which thread runs one
// must not change what it computes: then results do not depend on the number of threads.
//
// The calling thread is itself one of the pool's, so it must never wait for a thread that may not
// come: two handlers that do so wait for each other. It takes tasks like everybody else until none
// is left, and then waits only for those that another thread has begun.
template <typename Pool, typename Task>
void ParallelFor(Pool pool, int64_t count, const Task& task) {
  const int64_t helpers = std::min(pool.num_threads(), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  auto job = std::make_shared<Job>(count, task);
  Crew& crew = Crew::Instance();
  crew.Post(job);
  for (int64_t h = crew.Waiting(); h < helpers; ++h) {
    pool.Schedule([job, &crew] { crew.Help(job); });
  }
  job->Work();
  for (int spins = 0; !job->Done(); ++spins) {
    if (spins > 1000) std::this_thread::yield();
  }
}

}  // namespace sparl
