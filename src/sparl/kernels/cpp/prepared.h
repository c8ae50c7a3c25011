// What kernels multiply by in place of the stored weights: packed values in the order of their
// columns (unless rows share these), and the spectra of blocks. They are computed once per call, for all tiles.
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
      return layer.circulant() || 
             (layer.packed() && !layer.shared() && order == kByColumn);
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
        const int64_t at_once = kWeightsAtOnce / layer.group;
        for (int64_t k = 0; k < layer.kept; k += at_once) {
          parts.push_back({&layer, next, k, std::min(k + at_once, layer.kept)});
        }
        next += layer.weights();
      }
    }
    ParallelFor(pool, parts.size(), [&](int64_t task) {
      const Part& p = parts[task];
      if (p.layer->circulant()) return Spectra(p, order);
      for (int64_t k = p.first; k < p.end; ++k) p.to[k] = p.layer->weight[p.layer->order[k]];
    });
  }

 private:
  static constexpr int64_t kWeightsAtOnce = 16384;

  // Some of a layer's values or blocks, and where those of the whole layer go.
  struct Part {
    const Layer* layer;
    float* to;
    int64_t first, end;
  };

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
