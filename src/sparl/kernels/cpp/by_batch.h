// Shared by the calls that run networks while their batch norms are trained: a norm then uses the
// mean and the variance of the batch itself. These are of all tiles, so threads *meet* at each
// norm; between two meetings a task takes its tile from one to the next.
//
// The tape is that of forward.cpp, followed by the sums of each layer that normalises them. The
// deltas are those of backward.cpp, followed by dx if it is wanted, and by the gradients by the
// inputs of each layer that normalises these.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "batch_norms.h"
#include "form.h"
#include "tape.h"
#include "tiling.h"

namespace sparl {

// The norm of a layer's sums, or of its inputs.
struct Meeting {
  size_t layer;
  bool sums;
};

// In the order of the way forward.
inline std::vector<Meeting> Meetings(const Form& form) {
  std::vector<Meeting> meetings;
  for (size_t l = 0; l < form.depth(); ++l) {
    if (form.input_normed(l)) meetings.push_back({l, false});
    if (form.normed(l)) meetings.push_back({l, true});
  }
  return meetings;
}

inline std::vector<int64_t> TapedByBatch(const Form& form) {
  std::vector<int64_t> features = form.Taped();
  for (size_t l = 0; l < form.depth(); ++l) {
    features.push_back(form.normed(l) ? form.widths()[l + 1] : 0);
  }
  return features;
}

inline std::vector<int64_t> DeltasByBatch(const Form& form, bool of_x) {
  std::vector<int64_t> features = form.Deltas();
  features.push_back(of_x ? form.widths().front() : 0);
  for (size_t l = 0; l < form.depth(); ++l) {
    features.push_back(form.input_normed(l) ? form.inputs(l) : 0);
  }
  return features;
}

// Where in a tile of the tape a layer's sums begin.
inline int64_t SumsOf(const Form& form, const Tiling& taped, size_t layer) {
  return taped.offsets[3 * form.depth() + 1 + layer];
}

// Where in a tile of the tape that which a norm takes begins.
inline int64_t TakenBy(const Form& form, const Tiling& taped, Meeting norm) {
  return norm.sums ? SumsOf(form, taped, norm.layer) : ReadBy(form, taped, norm.layer);
}

// The number of statistics: mean and variance of each feature of every norm, in the norms' order.
inline int64_t StatisticsOf(const Form& form) { return (form.values() - form.norms()) / 2; }

// A norm of one network, and the statistics that it had of the batch.
struct BatchNorm {
  int64_t features;
  const float *gain, *shift, *running_mean, *running_variance;
  int64_t at;    // where its numbers begin among the values
  int64_t seen;  // where its statistics begin among all of them
  const float *mean, *variance;

  BatchNorm(const Form& form, const Layer& layer, Meeting norm, const float* statistics)
      : features(norm.sums ? layer.outputs : layer.inputs),
        gain(norm.sums ? layer.norm : layer.input_norm),
        shift(gain + features),
        running_mean(shift + features),
        running_variance(running_mean + features),
        at(norm.sums ? form.NormOf(norm.layer) : form.InputNormOf(norm.layer)),
        seen((at - form.norms()) / 2),
        mean(statistics + seen),
        variance(mean + features) {}

  // Batch renormalisation (1702.03275): the result is (x - mean) rate Stretch(f) + Move(f), before
  // gain and shift, which is what the running statistics give, within bounds. Neither has a
  // gradient.
  float Stretch(int64_t f) const {
    constexpr float kMost = 3.0f;  // as RENORM_FACTOR of norms.py
    const float ratio = Rate(running_variance[f]) / Rate(variance[f]);
    return std::min(std::max(ratio, 1.0f / kMost), kMost);
  }
  float Move(int64_t f) const {
    constexpr float kMost = 5.0f;  // as RENORM_OFFSET of norms.py
    const float steps = (mean[f] - running_mean[f]) * Rate(running_variance[f]);
    return std::min(std::max(steps, -kMost), kMost);
  }
};

// What is wrong with a form for these calls; empty if nothing is.
inline std::string Wrong(const Form& form) {
  if (!form.error().empty()) return form.error();
  return form.any_normed() ? "" : "the network has no batch norm to train";
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
