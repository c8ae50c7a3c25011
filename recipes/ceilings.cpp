// What one core can do at most, as JSON: multiply-adds on registers, and multiply-adds with a factor
// out of each of its caches. For roofline.py.

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#ifdef __AVX512F__
constexpr int kVector = 16;
#else
constexpr int kVector = 8;
#endif
typedef float Vector __attribute__((vector_size(4 * kVector)));
typedef float InMemory __attribute__((vector_size(4 * kVector), aligned(4), may_alias));

// Enough sums that none has to wait for its last one, and few enough for the registers.
constexpr int kSums = 12;
constexpr int kTurns = 9;
constexpr double kSeconds = 0.05;

// The best of some turns: the calls per second of `work`, which gives what would else be optimised
// away.
template <typename Work>
double Rate(const Work& work) {
  double best = 0;
  volatile float kept = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto begin = std::chrono::steady_clock::now();
    double seconds = 0;
    int64_t calls = 0;
    for (; seconds < kSeconds; ++calls) {
      kept = kept + work();
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    if (calls / seconds > best) best = calls / seconds;
  }
  return best;
}

float Sum(const Vector* sums) {
  Vector total = {};
  for (int i = 0; i < kSums; ++i) total += sums[i];
  float all = 0;
  for (int lane = 0; lane < kVector; ++lane) all += total[lane];
  return all;
}

double Gflops() {
  constexpr int64_t kTimes = 100000;
  // Unknown to the compiler and different everywhere, so that nothing is computed only once.
  volatile float unknown[kSums * kVector];
  for (int i = 0; i < kSums * kVector; ++i) unknown[i] = 0.5f + 0.001f * i;
  const double rate = Rate([&] {
    Vector sums[kSums];
    for (int i = 0; i < kSums; ++i) {
      for (int lane = 0; lane < kVector; ++lane) sums[i][lane] = unknown[i * kVector + lane];
    }
    const Vector factor = sums[0], term = sums[1];
    for (int64_t k = 0; k < kTimes; ++k) {
      for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + term;
    }
    return Sum(sums);
  });
  return 2e-9 * rate * kTimes * kSums * kVector;
}

// Gigabytes per second out of a buffer of so many bytes, which is read again and again.
double Gigabytes(long bytes) {
  constexpr int64_t kOnce = kSums * kVector;
  const int64_t floats = bytes / sizeof(float) / kOnce * kOnce;
  // In whole cache lines, as XLA's arrays are: a load across two of them counts twice.
  const std::vector<float> room(floats + 16, 1.0f);
  const float* const buffer = room.data() + (-reinterpret_cast<uintptr_t>(room.data()) & 63) / 4;
  const int64_t times = 1 + (1 << 20) / floats;
  const double rate = Rate([&] {
    Vector sums[kSums] = {};
    const Vector factor = Vector{} + 0.5f;
    for (int64_t t = 0; t < times; ++t) {
      for (const float* at = buffer; at < buffer + floats; at += kOnce) {
        for (int i = 0; i < kSums; ++i) {
          sums[i] += factor * *reinterpret_cast<const InMemory*>(at + i * kVector);
        }
      }
    }
    return Sum(sums);
  });
  return 1e-9 * rate * times * floats * sizeof(float);
}

int main() {
  std::printf("{\"gflops\": %.1f, \"gigabytes_per_second\": {", Gflops());
  // Half of a cache, so that what else is in use stays in it, too.
  const long halves[] = {sysconf(_SC_LEVEL1_DCACHE_SIZE) / 2, sysconf(_SC_LEVEL2_CACHE_SIZE) / 2,
                         sysconf(_SC_LEVEL3_CACHE_SIZE) / 2};
  for (int level = 0; level < 3; ++level) {
    std::printf("%s\"L%d\": %.1f", level ? ", " : "", level + 1, Gigabytes(halves[level]));
  }
  std::printf("}}\n");
}
