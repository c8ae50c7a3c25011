// The gradients of whole networks, from dy and the tape of the forward call (forward.cpp), in one
// call: first the *deltas*, the gradients of every layer's sums, tile by tile as far down as they
// are needed, then from tape and deltas the gradients of weights and biases.

#include <memory>

#include "kernels.h"
#include "operands.h"
#include "parallel.h"
#include "tiling.h"

namespace sparl {
namespace {

// Packed values in the order of their columns, once for all tiles.
class ByColumn {
 public:
  // Of all layers of each network from number `first` on.
  ByColumn(ffi::ThreadPool pool, const Networks& networks, size_t first) {
    struct Part {
      const Layer* layer;
      float* values;
      int64_t from, end;
    };
    constexpr int64_t kAtOnce = 16384;
    int64_t kept = 0;
    for (const auto& layers : networks) {
      for (size_t l = first; l < layers.size(); ++l) kept += layers[l].packed() * layers[l].kept;
    }
    memory_.reset(new float[kept]);
    float* next = memory_.get();
    std::vector<Part> parts;
    for (const auto& layers : networks) {
      values_.emplace_back(layers.size(), nullptr);
      for (size_t l = first; l < layers.size(); ++l) {
        if (!layers[l].packed()) continue;
        values_.back()[l] = next;
        for (int64_t k = 0; k < layers[l].kept; k += kAtOnce) {
          parts.push_back({&layers[l], next, k, std::min(k + kAtOnce, layers[l].kept)});
        }
        next += layers[l].kept;
      }
    }
    ParallelFor(pool, parts.size(), [&](int64_t task) {
      const Part& p = parts[task];
      for (int64_t k = p.from; k < p.end; ++k) p.values[k] = p.layer->weight[p.layer->order[k]];
    });
  }

  const float* Of(size_t network, size_t layer) const { return values_[network][layer]; }

 private:
  std::unique_ptr<float[]> memory_;
  std::vector<std::vector<const float*>> values_;
};

// dW and db of every layer. Some rows of one layer are one task, each with the whole batch: a sum's
// order does not depend on the number of threads.
void Gradients(ffi::ThreadPool pool, const Form& form, const Networks& networks,
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
      const int64_t per_row = layer.kept / std::max<int64_t>(layer.outputs, 1);
      const int64_t work = per_row * std::max<int64_t>(taped.batch, 1) + 1;
      const int64_t rows = std::max<int64_t>(32, kProductsAtOnce / work / 4 * 4);
      for (int64_t r = 0; r < layer.outputs; r += rows) {
        tasks.push_back({static_cast<int64_t>(n), l, r, std::min(r + rows, layer.outputs)});
      }
    }
  }
  const Path& path = CurrentPath();
  ParallelFor(pool, tasks.size(), [&](int64_t task) {
    const auto [n, l, first, end] = tasks[task];
    const Layer& layer = networks[n][l];
    float* to = gradient.At(n) + form.ValuesOf(l);
    path.gradient(layer, first, end, taped.Of(l, tape.At(n)), tiling.Of(l, deltas.At(n)), to,
                  to + layer.kept);
  });
}

// The gradients of values and of x; one whose result has no features is not wanted. `deltas` is
// memory for them where gradients of values are wanted.
ffi::Error BackwardCall(ffi::ThreadPool pool, Floats dy, Floats tape, Floats values,
                        Indices indices, ffi::Result<Floats> dvalues, ffi::Result<Floats> dx,
                        ffi::Result<Floats> deltas, Span widths, Span kept, bool relu_last) {
  const Form form(widths, kept);
  if (!form.error().empty()) return ffi::Error::InvalidArgument(form.error());
  if (dx->dimensions().size() < 2 || dvalues->dimensions().size() < 1) {
    return ffi::Error::InvalidArgument("dx is no matrix, or dvalues no vector");
  }
  const size_t depth = form.depth();
  const Dimensions batch = BatchOf(dx->dimensions(), 2);
  const bool of_values = dvalues->dimensions().back() > 0;
  const bool of_x = dx->dimensions()[batch.size()] > 0;
  const int64_t samples = dx->dimensions().back();
  const Tiling taped(form.widths(), 0, depth + relu_last, samples);
  const Tiling tiling(form.widths(), 1, depth + 1, samples);
  Reader reader(batch);
  const auto from = reader.Take<const float>(dy, "dy", {widths[depth], samples});
  const auto taken = reader.Take<const float>(tape, "tape", taped.Core());
  const auto gradient = reader.Take<float>(*dvalues, "dvalues", {of_values ? form.values() : 0});
  const auto to_x = reader.Take<float>(*dx, "dx", {of_x ? widths[0] : 0, samples});
  Stack<float> stored;
  if (of_values) stored = reader.Take<float>(*deltas, "deltas", tiling.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), true, &networks);
  if (error.failure()) return error;

  const ByColumn by_column(pool, networks, of_x ? 0 : 1);
  const int64_t lanes = tiling.lanes, half = form.widest() * lanes;
  const Path& path = CurrentPath();
  ParallelFor(pool, networks.size() * tiling.count, [&](int64_t task) {
    const int64_t n = task / tiling.count, t = task % tiling.count;
    const float* tape_tile = taken.At(n) + t * taped.Stride();
    float* scratch = Scratch(2 * half);
    // Where the deltas of layer l go; number -1 is dx.
    const auto delta = [&](int64_t l) {
      return of_values && l >= 0 ? stored.At(n) + t * tiling.Stride() + tiling.offsets[l]
                                 : scratch + (l & 1) * half;
    };
    int64_t l = depth - 1;
    float* last = delta(l);
    IntoTile(from.At(n), widths[depth], tiling, t, last);
    if (relu_last) {
      const float* active = tape_tile + taped.offsets[depth];
      for (int64_t i = 0; i < widths[depth] * lanes; ++i) {
        last[i] = active[i] > 0 ? last[i] : 0.0f;
      }
    }
    for (; l > 0; --l) {
      path.backward(networks[n][l], by_column.Of(n, l), delta(l), tape_tile + taped.offsets[l],
                    delta(l - 1), lanes, lanes);
    }
    if (of_x) {
      float* const spare = delta(-1);
      const Place to = PlaceFor(to_x.At(n), tiling, t, spare);
      path.backward(networks[n][0], by_column.Of(n, 0), delta(0), nullptr, to.data, to.step, lanes);
      if (to.data == spare) FromTile(spare, widths[0], tiling, t, to_x.At(n));
    }
  });
  if (of_values) Gradients(pool, form, networks, taped, taken, tiling, stored, gradient);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* Backward(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, BackwardCall,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .Arg<Indices>()
                             .Ret<Floats>()
                             .Ret<Floats>()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("kept")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

}  // namespace sparl
