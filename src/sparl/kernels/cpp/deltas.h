// The *deltas*, which are the gradients by every layer's sums, tile by tile; and the gradients of
// weights and biases, which are made from tape and deltas. The gradient by a value is a sum: first
// what dy has for it, if it is an output of the network, then those of the layers that read it, the
// last layer's first.
#pragma once

#include "operands.h"
#include "parallel.h"
#include "tiling.h"

namespace sparl {

// The layers behind the last norm, which ran for the first samples alone.
struct Behind {
  size_t layer;  // the first of these layers
  int64_t samples;
};

// dW and db of every layer. A task is some rows of one layer with the whole batch, so the order of
// a sum does not depend on the number of threads. Where norms go by the batch, subtracting its mean
// cancels a bias in front of one: its gradient would be rounding, and is zero. Layers behind the last
// norm may have run for the first samples alone.
inline void Gradients(ffi::ThreadPool pool, const Form& form, const Networks& networks,
                      const Tiling& taped, const Stack<const float>& tape, const Tiling& tiling,
                      const Stack<float>& deltas, const Stack<float>& gradient,
                      const Behind* by_batch) {
  struct Rows {
    int64_t network;
    size_t layer;
    int64_t first, end;
  };
  // Tasks of about equal work, and enough of them for all threads to end at about the same time.
  constexpr int64_t kProductsAtOnce = 1 << 19;
  std::vector<Rows> tasks;
  for (size_t n = 0; n < networks.size(); ++n) {
    for (size_t l = 0; l < form.depth(); ++l) {
      const Layer& layer = networks[n][l];
      const int64_t all = layer.block_rows();
      const int64_t per_row = layer.weights() / std::max<int64_t>(all, 1);
      const int64_t work = per_row * std::max<int64_t>(taped.batch, 1) + 1;
      const int64_t rows = std::max<int64_t>(32 / layer.height(), kProductsAtOnce / work / 4 * 4);
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
    Tiles inputs = layer.circulant() ? tiling.Of(form.depth() + l, deltas.At(n))
                                     : taped.Of(l, tape.At(n));
    Tiles sums = tiling.Of(l, deltas.At(n));
    if (by_batch && l >= by_batch->layer) {
      inputs.count = sums.count = tiling.First(by_batch->samples).count;
    }
    float* const dbias = to + layer.weights();
    const bool none = by_batch && layer.norm;
    path.gradient(layer, first, end, inputs, sums, to, none ? nullptr : dbias);
    if (none) std::fill(dbias + layer.RowOf(first), dbias + layer.RowOf(end), 0.0f);
  });
}

// Adds `part` to `to`, or overwrites `to` if `part` is the `first` term.
inline void Add(const float* part, int64_t count, bool first, float* to) {
  if (first) {
    std::copy_n(part, count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] += part[i];
  }
}

// Writes to by_value(value) what dy has in tile number t for each value from `least` on. `spare`
// has room for the widest value.
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

// Turns gradients by what the norm of a layer's inputs gives, if there is one and its statistics
// are fixed, into those by what it takes; in place.
inline void ThroughInputNorm(const Path& path, const Layer& layer, float* dx, int64_t step,
                             int64_t lanes) {
  if (!layer.input_norm) return;
  path.scale(layer.inputs, {layer.of_inputs.factor}, dx, step, dx, step, lanes,
             false);
}

// Adds the gradients by a layer's inputs to by_value(value), for all values from `least` on that
// the layer reads.
template <typename ByValue>
void Spread(const Form& form, const Layer& layer, size_t l, int64_t lanes, const float* by_inputs,
            size_t least, const ByValue& by_value) {
  // Layers come in reverse order, and so does what they read: the last use of a value comes first.
  const std::vector<size_t>& reads = form.Reads(l);
  int64_t feature = layer.inputs;
  for (size_t r = reads.size(); r-- > 0;) {
    const int64_t width = form.widths()[reads[r]];
    feature -= width;
    if (reads[r] < least) continue;
    const Form::Use last = form.Uses(reads[r]).back();
    const bool first = last.layer == l && last.feature == feature && form.Given(reads[r]).empty();
    Add(by_inputs + feature * lanes, width * lanes, first, by_value(reads[r]));
  }
}

// Turns both deltas and inputs of a layer of circulant blocks into components (spectra.h), the
// deltas in place.
inline void ToComponents(const Path& path, const Layer& layer, int64_t lanes, float* delta,
                         const float* inputs, float* components) {
  if (!layer.circulant()) return;
  path.analyse(layer.group, layer.outputs, delta, delta, lanes);
  if (components) path.analyse(layer.group, layer.inputs, inputs, components, lanes);
}

}  // namespace sparl
