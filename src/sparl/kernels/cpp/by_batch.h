// What the calls share that run networks while their batch norms are trained: every layer's sums by the
// mean and the variance of the batch itself. Threads meet behind each layer, for a mean is that of all
// tiles; between two meetings a task finishes one layer of its tile and begins the next.
//
// The tape has every layer's sums behind what that of forward.cpp has; where dx is wanted, the deltas
// have a place for it behind what those of backward.cpp have.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "form.h"
#include "tiling.h"

namespace sparl {

inline std::vector<int64_t> TapedByBatch(const Form& form) {
  std::vector<int64_t> features = form.Taped();
  features.insert(features.end(), form.widths().begin() + 1, form.widths().end());
  return features;
}

inline std::vector<int64_t> DeltasByBatch(const Form& form, bool of_x) {
  std::vector<int64_t> features = form.Deltas();
  features.push_back(of_x ? form.widths().front() : 0);
  return features;
}

// Mean and variance of every layer's sums, one behind the other.
inline int64_t StatisticsOf(const Form& form) {
  const std::vector<int64_t>& widths = form.widths();
  return 2 * std::accumulate(widths.begin() + 1, widths.end(), int64_t{0});
}

// What is wrong with a form here, or nothing.
inline std::string Wrong(const Form& form) {
  if (!form.error().empty()) return form.error();
  for (size_t l = 0; l < form.depth(); ++l) {
    if (!form.normed(l)) return "layer " + std::to_string(l) + " has no batch norm to train";
  }
  return "";
}

// term(0) + term(1) + ..., as vectors.
template <typename Term>
float Sum(int64_t count, const Term& term) {
  constexpr int64_t kAtOnce = 16;
  float parts[kAtOnce] = {}, total = 0;
  int64_t i = 0;
  for (; i + kAtOnce <= count; i += kAtOnce) {
    for (int64_t j = 0; j < kAtOnce; ++j) parts[j] += term(i + j);
  }
  for (; i < count; ++i) total += term(i);
  for (float part : parts) total += part;
  return total;
}

// Two numbers for each feature of each tile: parts of a sum over the batch, which is then made in the
// order of tiles and does not depend on the number of threads.
class Parts {
 public:
  Parts(const Form& form, int64_t tiles) : width_(form.widest()), numbers_(2 * tiles * width_) {}

  float* First(int64_t t) { return numbers_.data() + 2 * t * width_; }
  float* Second(int64_t t) { return First(t) + width_; }

 private:
  int64_t width_;
  std::vector<float> numbers_;
};

}  // namespace sparl
