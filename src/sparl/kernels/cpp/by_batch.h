// Shared by the calls that run networks while their batch norms are trained: a norm then uses the
// mean and the variance of the batch itself. A mean is that of all tiles, so threads meet after
// each layer; between two meetings a task finishes one layer of its tile and begins the next.
//
// The tape is that of forward.cpp, followed by every layer's sums. The deltas are those of
// backward.cpp, followed by dx if it is wanted.
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

// The number of statistics: mean and variance of each feature of every layer's sums.
inline int64_t StatisticsOf(const Form& form) {
  const std::vector<int64_t>& widths = form.widths();
  return 2 * std::accumulate(widths.begin() + 1, widths.end(), int64_t{0});
}

// What is wrong with a form for these calls; empty if nothing is.
inline std::string Wrong(const Form& form) {
  if (!form.error().empty()) return form.error();
  for (size_t l = 0; l < form.depth(); ++l) {
    if (!form.normed(l)) return "layer " + std::to_string(l) + " has no batch norm to train";
  }
  return "";
}

// term(0) + term(1) + ..., added up as vectors.
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

// Two numbers for each feature of each tile: the tile's parts of sums over the batch. The sums are
// made in the order of tiles, so they do not depend on the number of threads.
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
