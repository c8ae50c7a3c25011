// Batch norms behind a layer's sums: by given means and variances they are a factor and an offset for
// each of the features.
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

// Sets them by the running statistics for all layers that have a norm; they live as long as this.
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

// In place, a layer's sums to those behind its norm; with `step` floats from one to the next.
inline void Normalise(const Layer& layer, float* y, int64_t step, int64_t lanes) {
  for (int64_t f = 0; f < layer.outputs; ++f, y += step) {
    for (int64_t lane = 0; lane < lanes; ++lane) y[lane] = layer.factor[f] * y[lane] + layer.offset[f];
  }
}

// In place, gradients by what is behind the norm to those by the sums before it.
inline void ThroughNorm(const Layer& layer, float* dy, int64_t lanes) {
  for (int64_t f = 0; f < layer.outputs; ++f, dy += lanes) {
    for (int64_t lane = 0; lane < lanes; ++lane) dy[lane] *= layer.factor[f];
  }
}

}  // namespace sparl
