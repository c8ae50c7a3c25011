// Batch norms with running statistics: a factor and an offset for each feature.
#pragma once

#include <cmath>
#include <memory>

#include "operands.h"

namespace sparl {

constexpr float kEpsilon = 1e-3f;  // as BATCH_EPSILON of forms.py

inline float Rate(float variance) { return 1.0f / std::sqrt(variance + kEpsilon); }

// What gain, shift, mean and variance amount to, [features] each, one after the other; `memory` has
// room for the factors and the offsets.
inline Affine RunningAffine(const float* norm, int64_t features, float* memory) {
  const float *gain = norm, *shift = gain + features, *mean = shift + features;
  const float* const variance = mean + features;
  float *const factor = memory, *const offset = memory + features;
  for (int64_t f = 0; f < features; ++f) {
    factor[f] = gain[f] * Rate(variance[f]);
    offset[f] = shift[f] - factor[f] * mean[f];
  }
  return {factor, offset};
}

// Sets what all norms of some networks amount to by their running statistics, and owns it.
class RunningNorms {
 public:
  explicit RunningNorms(Networks* networks) {
    int64_t features = 0;
    for (const auto& layers : *networks) {
      for (const Layer& layer : layers) {
        features += (layer.norm ? layer.outputs : 0) + (layer.input_norm ? layer.inputs : 0);
      }
    }
    if (features == 0) return;
    memory_.reset(new float[2 * features]);
    float* next = memory_.get();
    for (auto& layers : *networks) {
      for (Layer& layer : layers) {
        if (layer.norm) {
          layer.of_sums = RunningAffine(layer.norm, layer.outputs, next);
          next += 2 * layer.outputs;
        }
        if (layer.input_norm) {
          layer.of_inputs = RunningAffine(layer.input_norm, layer.inputs, next);
          next += 2 * layer.inputs;
        }
      }
    }
  }

 private:
  std::unique_ptr<float[]> memory_;
};

}  // namespace sparl
