// The gradients of whole networks, from dy and the tape of the forward call (forward.cpp), in one
// call: first the *deltas*, the gradients of every layer's sums, tile by tile as far down as they
// are needed, then from tape and deltas the gradients of weights and biases.
//
// For a layer of circulant blocks both are turned into components (spectra.h), the deltas in place.

#include "kernels.h"
#include "operands.h"
#include "parallel.h"
#include "prepared.h"
#include "tiling.h"

namespace sparl {
namespace {

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

// The gradients of values and of x; one whose result has no features is not wanted. `deltas` is
// memory for them where gradients of values are wanted.
ffi::Error BackwardCall(ffi::ThreadPool pool, Floats dy, Floats tape, Floats values,
                        Indices indices, ffi::Result<Floats> dvalues, ffi::Result<Floats> dx,
                        ffi::Result<Floats> deltas, Span widths, Span kept, Span groups,
                        bool relu_last) {
  const Form form(widths, kept, groups);
  if (!form.error().empty()) return ffi::Error::InvalidArgument(form.error());
  if (dx->dimensions().size() < 2 || dvalues->dimensions().size() < 1) {
    return ffi::Error::InvalidArgument("dx is no matrix, or dvalues no vector");
  }
  const size_t depth = form.depth();
  const Dimensions batch = BatchOf(dx->dimensions(), 2);
  const bool of_values = dvalues->dimensions().back() > 0;
  const bool of_x = dx->dimensions()[batch.size()] > 0;
  const int64_t samples = dx->dimensions().back();
  const Tiling taped(form.Taped(relu_last), samples);
  const Tiling tiling(form.Deltas(), samples);
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

  const Prepared prepared(pool, Prepared::kByColumn, of_x ? 0 : 1, &networks);
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
    float* last = delta(depth - 1);
    IntoTile(from.At(n), widths[depth], tiling, t, last);
    if (relu_last) {
      const float* active = tape_tile + taped.offsets[depth];
      for (int64_t i = 0; i < widths[depth] * lanes; ++i) {
        last[i] = active[i] > 0 ? last[i] : 0.0f;
      }
    }
    for (int64_t l = depth - 1; l >= 0; --l) {
      const Layer& layer = networks[n][l];
      const float* inputs = tape_tile + taped.offsets[l];
      if (layer.circulant()) {
        path.analyse(layer.group, layer.outputs, delta(l), delta(l), lanes);
        if (of_values) path.analyse(layer.group, layer.inputs, inputs, delta(depth + l), lanes);
      }
      if (l > 0) path.backward(layer, delta(l), inputs, delta(l - 1), lanes, lanes);
    }
    if (of_x) {
      float* const spare = delta(-1);
      const Place to = PlaceFor(to_x.At(n), tiling, t, spare);
      path.backward(networks[n][0], delta(0), nullptr, to.data, to.step, lanes);
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
                             .Attr<Span>("groups")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

}  // namespace sparl
