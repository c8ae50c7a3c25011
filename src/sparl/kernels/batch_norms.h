// Batch norms by their running statistics: a factor and an offset for each of a layer's sums.
#pragma once

#include <cmath>
#include <memory>

#include "operands.h"

namespace sparl {

// Sets `factor` and `offset` of all layers that have a norm; they live as long as this.
class BatchNorms {
 public:
  explicit BatchNorms(Networks* networks) {
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
        const int64_t outputs = layer.outputs;
        const float* const gain = layer.norm;
        const float *const shift = gain + outputs, *const mean = shift + outputs;
        const float* const variance = mean + outputs;
        float *const factor = next, *const offset = factor + outputs;
        for (int64_t f = 0; f < outputs; ++f) {
          factor[f] = gain[f] / std::sqrt(variance[f] + kEpsilon);
          offset[f] = shift[f] - factor[f] * mean[f];
        }
        layer.factor = factor, layer.offset = offset;
        next += 2 * outputs;
      }
    }
  }

 private:
  static constexpr float kEpsilon = 1e-3f;  // as BATCH_EPSILON of forms.py

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
