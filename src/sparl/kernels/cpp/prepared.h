// What kernels multiply by in place of the stored weights: packed values in the order of their
// columns (unless rows share these), transposed dense weights, and the spectra of blocks. They are
// computed once per call, for all tiles.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "operands.h"
#include "parallel.h"
#include "spectra.h"

namespace sparl {
namespace {  // as what it uses of spectra.h

class Prepared {
 public:
  enum Order { kByRow, kByColumn };

  // Sets `by_row` or `by_column` of the layers of each network from number `first` on, where the
  // kernels need it, and owns them.
  template <typename Pool>
  Prepared(Pool pool, Order order, size_t first, Networks* networks) {
    const auto wanted = [&](const Layer& layer) {
      if (layer.circulant()) return true;
      if (order == kByRow || layer.shared()) return false;
      return layer.packed() || Far(layer);
    };
    int64_t weights = 0;
    for (const auto& layers : *networks) {
      for (size_t l = first; l < layers.size(); ++l) {
        if (wanted(layers[l])) weights += layers[l].weights();
      }
    }
    if (weights == 0) return;
    memory_.reset(new float[weights]);
    float* next = memory_.get();
    std::vector<Part> parts;
    for (auto& layers : *networks) {
      for (size_t l = first; l < layers.size(); ++l) {
        Layer& layer = layers[l];
        if (!wanted(layer)) continue;
        (order == kByRow ? layer.by_row : layer.by_column) = next;
        const bool dense = !layer.packed();
        const int64_t all = dense ? layer.inputs : layer.kept;
        const int64_t each = dense ? layer.outputs : layer.group;
        const int64_t at_once = std::max<int64_t>(kWeightsAtOnce / each, kColumnsAtOnce);
        for (int64_t k = 0; k < all; k += at_once) {
          parts.push_back({&layer, next, k, std::min(k + at_once, all)});
        }
        next += layer.weights();
      }
    }
    ParallelFor(pool, parts.size(), [&](int64_t task) {
      const Part& p = parts[task];
      if (p.layer->circulant()) return Spectra(p, order);
      if (!p.layer->packed()) return Transpose(p);
      for (int64_t k = p.first; k < p.end; ++k) p.to[k] = p.layer->weight[p.layer->order[k]];
    });
  }

 private:
  static constexpr int64_t kWeightsAtOnce = 16384, kColumnsAtOnce = 16;

  // Whether a dense layer is so wide that walking down its columns is slow: rows that lie a power of
  // two apart compete for the same few cache lines.
  static bool Far(const Layer& layer) {
    constexpr int64_t kFar = 512, kMany = 64;
    return layer.inputs >= kFar && layer.outputs >= kMany;
  }

  // Some of a layer's values, blocks or, if it is dense, columns, and where the whole layer goes.
  struct Part {
    const Layer* layer;
    float* to;
    int64_t first, end;
  };

  // Writes W^T, row by row of W and some columns at a time, so that a cache line is read once.
  static void Transpose(const Part& p) {
    const int64_t inputs = p.layer->inputs, outputs = p.layer->outputs;
    for (int64_t c = p.first; c < p.end; c += kColumnsAtOnce) {
      const int64_t end = std::min(c + kColumnsAtOnce, p.end);
      for (int64_t r = 0; r < outputs; ++r) {
        const float* const row = p.layer->weight + r * inputs;
        for (int64_t i = c; i < end; ++i) p.to[i * outputs + r] = row[i];
      }
    }
  }

  static void Spectra(const Part& p, Order order) {
    const Layer& layer = *p.layer;
    WithGroup(layer.group, [&](auto group) {
      constexpr int64_t G = group.size;
      for (int64_t k = p.first; k < p.end; ++k) {
        const int64_t from = order == kByRow ? k : layer.order[k];
        Spectrum<G>(layer.weight + from * G, order == kByColumn, p.to + k * G);
      }
    });
  }

  std::unique_ptr<float[]> memory_;
};

}  // namespace
}  // namespace sparl
