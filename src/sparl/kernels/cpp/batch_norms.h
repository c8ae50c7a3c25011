// Batch norms behind a layer's sums: with given means and variances, a norm is a factor and an
// offset for each feature.
#pragma once

#include <cmath>
#include <memory>

#include "operands.h"

namespace sparl {

// [features] each.
struct Norm {
  const float *gain, *shift, *mean, *variance;
};

inline float Rate(float variance) {
  constexpr float kEpsilon = 1e-3f;  // as BATCH_EPSILON of forms.py
  return 1.0f / std::sqrt(variance + kEpsilon);
}

// Sets `factor` and `offset` of a layer; `memory` has room for both.
inline void SetAffine(Norm norm, float* memory, Layer* layer) {
  float *const factor = memory, *const offset = memory + layer->outputs;
  for (int64_t f = 0; f < layer->outputs; ++f) {
    factor[f] = norm.gain[f] * Rate(norm.variance[f]);
    offset[f] = norm.shift[f] - factor[f] * norm.mean[f];
  }
  layer->factor = factor, layer->offset = offset;
}

// Sets factors and offsets of all layers with a norm by the running statistics, and owns them.
class RunningNorms {
 public:
  explicit RunningNorms(Networks* networks) {
    int64_t features = 0;
    for (const auto& layers : *networks) {
      for (const Layer& layer : layers) features += layer.norm ? layer.outputs : 0;
    }
    if (features == 0) return;
    memory_.reset(new float[2 * features]);
    float* next = memory_.get();
    for (auto& layers : *networks) {
      for (Layer& layer : layers) {
        if (!layer.norm) continue;
        const float* const gain = layer.norm;
        const int64_t n = layer.outputs;
        SetAffine({gain, gain + n, gain + 2 * n, gain + 3 * n}, next, &layer);
        next += 2 * n;
      }
    }
  }

 private:
  std::unique_ptr<float[]> memory_;
};

// Normalises a layer's sums in place; there are `step` floats from one feature to the next.
inline void Normalise(const Layer& layer, float* y, int64_t step, int64_t lanes) {
  for (int64_t f = 0; f < layer.outputs; ++f, y += step) {
    for (int64_t lane = 0; lane < lanes; ++lane) y[lane] = layer.factor[f] * y[lane] + layer.offset[f];
  }
}

// Turns gradients by a norm's outputs into gradients by its inputs, in place.
inline void ThroughNorm(const Layer& layer, float* dy, int64_t lanes) {
  for (int64_t f = 0; f < layer.outputs; ++f, dy += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) dy[lane] *= layer.factor[f];
  }
}

}  // namespace sparl
