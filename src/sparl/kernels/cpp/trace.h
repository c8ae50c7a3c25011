// What calls of ParallelFor took: for `sparl bench step --trace`. Off, it costs a load of a flag.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace sparl {

// One call of ParallelFor, in which threads may meet.
struct Call {
  const char* where;   // the file that called
  int64_t tasks;
  int64_t by_helpers;  // tasks that other threads did
  int64_t threads;     // that it was offered to, the caller among them
  double us;           // from its begin to its end, microseconds
  double waited_us;    // of these, after the caller had no task left
};

class Trace {
 public:
  bool on() const { return on_.load(std::memory_order_relaxed); }

  // Forgets what was noted, and notes calls from now on.
  void Start() {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.clear();
    on_ = true;
  }

  // The calls since Start; no more are noted.
  std::vector<Call> Stop() {
    std::lock_guard<std::mutex> lock(mutex_);
    on_ = false;
    return std::exchange(calls_, {});
  }

  void Add(const Call& call) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(call);
  }

 private:
  std::atomic<bool> on_{false};
  std::mutex mutex_;
  std::vector<Call> calls_;
};

inline Trace trace;

// Times one call, if calls are traced.
class TracedCall {
 public:
  TracedCall(const char* where, int64_t tasks, int64_t threads)
      : on_(trace.on()), call_{where, tasks, 0, threads, 0.0, 0.0} {
    if (on_) began_ = Clock::now();
  }

  // The caller did so many tasks, and has none left.
  void Waits(int64_t own_tasks) {
    if (!on_) return;
    call_.by_helpers = call_.tasks - own_tasks;
    waits_ = Clock::now();
    waited_ = true;
  }

  ~TracedCall() {
    if (!on_) return;
    const auto now = Clock::now();
    call_.us = Us(now - began_);
    if (waited_) call_.waited_us = Us(now - waits_);
    trace.Add(call_);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double Us(Clock::duration time) {
    return std::chrono::duration<double, std::micro>(time).count();
  }

  const bool on_;
  Call call_;
  bool waited_ = false;
  Clock::time_point began_, waits_;
};

}  // namespace sparl
