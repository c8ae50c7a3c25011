// What the gradients of whole networks are made of: the *deltas*, gradients of every layer's sums,
// tile by tile, and from tape and deltas the gradients of weights and biases. The gradient of a value
// that several layers read is the sum of theirs, the last layer's first, and before them what dy has
// of a value that the network gives.
#pragma once

#include "operands.h"
#include "parallel.h"
#include "tiling.h"

namespace sparl {

// dW and db of every layer. Some rows of one layer are one task, each with the whole batch: a sum's
// order does not depend on the number of threads.
inline void Gradients(ffi::ThreadPool pool, const Form& form, const Networks& networks,
                      const Tiling& taped, const Stack<const float>& tape, const Tiling& tiling,
                      const Stack<float>& deltas, const Stack<float>& gradient) {
  struct Rows {
    int64_t network;
    size_t layer;
    int64_t first, end;
  };
  // About as much work in each task, and enough of them for the threads to end together.
  constexpr int64_t kProductsAtOnce = 1 << 18;
  std::vector<Rows> tasks;
  for (size_t n = 0; n < networks.size(); ++n) {
    for (size_t l = 0; l < form.depth(); ++l) {
      const Layer& layer = networks[n][l];
      const int64_t all = layer.block_rows();
      const int64_t per_row = layer.weights() / std::max<int64_t>(all, 1);
      const int64_t work = per_row * std::max<int64_t>(taped.batch, 1) + 1;
      const int64_t rows = std::max<int64_t>(32 / layer.group, kProductsAtOnce / work / 4 * 4);
      for (int64_t r = 0; r < all; r += rows) {
        tasks.push_back({static_cast<int64_t>(n), l, r, std::min(r + rows, all)});
      }
    }
  }
  const Path& path = CurrentPath();
  ParallelFor(pool, tasks.size(), [&](int64_t task) {
    const auto [n, l, first, end] = tasks[task];
    const Layer& layer = networks[n][l];
    float* to = gradient.At(n) + form.ValuesOf(l);
    const Tiles inputs = layer.circulant() ? tiling.Of(form.depth() + l, deltas.At(n))
                                           : taped.Of(l, tape.At(n));
    path.gradient(layer, first, end, inputs, tiling.Of(l, deltas.At(n)), to, to + layer.weights());
  });
}

// To `to`, or in its place if it is the `first`.
inline void Add(const float* part, int64_t count, bool first, float* to) {
  if (first) {
    std::copy_n(part, count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] += part[i];
  }
}

// What dy has of tile number t of each value from `least` on, to by_value(value); `spare` is as wide as
// the widest.
template <typename ByValue>
void TakeGiven(const Form& form, const Tiling& tiling, const float* dy, int64_t t, size_t least,
               const ByValue& by_value, float* spare) {
  for (size_t value = least; value <= form.depth(); ++value) {
    const int64_t width = form.widths()[value];
    bool first = true;
    for (int64_t row : form.Given(value)) {
      IntoTile(dy + row * tiling.batch, width, tiling, t, first ? by_value(value) : spare);
      if (!first) Add(spare, width * tiling.lanes, false, by_value(value));
      first = false;
    }
  }
}

// From one layer's deltas to by_value(value) of all that it reads from `least` on, by way of `spare`.
template <typename ByValue>
void PassBack(const Path& path, const Form& form, const Layer& layer, size_t l, int64_t lanes,
              const float* delta, size_t least, const ByValue& by_value, float* spare) {
  path.backward(layer, delta, nullptr, spare, lanes, lanes);
  // Layers come last first, and so does what they read: the first to come is a value's last use.
  const std::vector<size_t>& reads = form.Reads(l);
  int64_t feature = layer.inputs;
  for (size_t r = reads.size(); r-- > 0;) {
    const int64_t width = form.widths()[reads[r]];
    feature -= width;
    if (reads[r] < least) continue;
    const Form::Use last = form.Uses(reads[r]).back();
    const bool first = last.layer == l && last.feature == feature && form.Given(reads[r]).empty();
    Add(spare + feature * lanes, width * lanes, first, by_value(reads[r]));
  }
}

// Of a layer of circulant blocks both deltas and inputs are turned into components (spectra.h), the
// deltas in place.
inline void ToComponents(const Path& path, const Layer& layer, int64_t lanes, float* delta,
                         const float* inputs, float* components) {
  if (!layer.circulant()) return;
  path.analyse(layer.group, layer.outputs, delta, delta, lanes);
  if (components) path.analyse(layer.group, layer.inputs, inputs, components, lanes);
}

}  // namespace sparl
