// The gradients of whole networks in one call, from dy and the tape of the forward call
// (forward.cpp). First come the deltas (deltas.h), tile by tile and as far down as they are needed,
// then the gradients of weights and biases.

#include "batch_norms.h"
#include "bindings.h"
#include "deltas.h"
#include "kernels.h"
#include "prepared.h"
#include "tape.h"

namespace sparl {
namespace {

// The gradients of values and of x. A gradient whose result has no features is not wanted. If
// gradients of values are wanted, `deltas` is memory for the deltas. A network with batch norms has
// no gradients of values: its running statistics are no parameters, and for the gradients of gains
// the tape would have to keep the sums.
ffi::Error BackwardCall(ffi::ThreadPool pool, Floats dy, Floats tape, Floats values,
                        Indices indices, ffi::Result<Floats> dvalues, ffi::Result<Floats> dx,
                        ffi::Result<Floats> deltas, Span code) {
  const Form form(code);
  if (!form.error().empty()) return ffi::Error::InvalidArgument(form.error());
  if (dx->dimensions().size() < 2 || dvalues->dimensions().size() < 1) {
    return ffi::Error::InvalidArgument("dx is no matrix, or dvalues no vector");
  }
  const size_t depth = form.depth();
  const std::vector<int64_t>& widths = form.widths();
  const Dimensions batch = BatchOf(dx->dimensions(), 2);
  const bool of_values = dvalues->dimensions().back() > 0;
  const bool of_x = dx->dimensions()[batch.size()] > 0;
  const int64_t samples = dx->dimensions().back();
  const Tiling taped(form.Taped(), samples);
  const Tiling tiling(form.Deltas(), samples);
  if (of_values && form.any_normed()) {
    return ffi::Error::InvalidArgument("there are no gradients of values behind batch norms");
  }
  Reader reader(batch);
  const auto from = reader.Take<const float>(dy, "dy", {form.outputs(), samples});
  const auto taken = reader.Take<const float>(tape, "tape", taped.Core());
  const auto gradient = reader.Take<float>(*dvalues, "dvalues", {of_values ? form.values() : 0});
  const auto to_x = reader.Take<float>(*dx, "dx", {of_x ? widths[0] : 0, samples});
  Stack<float> stored;
  if (of_values) stored = reader.Take<float>(*deltas, "deltas", tiling.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), true, &networks);
  if (error.failure()) return error;

  const size_t least = of_x ? 0 : 1;  // the first value that needs a gradient
  const Prepared prepared(pool, Prepared::kByColumn, least, &networks);
  const RunningNorms norms(&networks);
  const int64_t lanes = tiling.lanes, widest = form.widest() * lanes;
  const Path& path = CurrentPath();
  // Whether the layer that reads this one's output has already applied the activation's slope.
  const auto whole = [&](size_t l) {
    const bool by_product = form.activation(l) == kNone || form.activation(l) == kRelu;
    return by_product && !form.normed(l) && !form.End(l + 1) && form.Alone(form.Home(l + 1).layer);
  };
  ParallelFor(pool, networks.size() * tiling.count, [&](int64_t task) {
    const int64_t n = task / tiling.count, t = task % tiling.count;
    const float* tape_tile = taken.At(n) + t * taped.Stride();
    float* const back = Scratch(2 * widest + (of_values ? 0 : tiling.Stride()));
    float* const by_x = back + widest;
    float* const deltas = of_values ? stored.At(n) + t * tiling.Stride() : by_x + widest;
    const auto taped_at = [&](size_t value) { return tape_tile + At(form, taped, form.Home(value)); };
    // Gradients by a value. The layer that computes the value turns them into its deltas, in place.
    const auto by_value = [&](size_t value) {
      return value ? deltas + tiling.offsets[value - 1] : by_x;
    };
    TakeGiven(form, tiling, from.At(n), t, least, by_value, back);
    for (size_t l = depth; l-- > 0;) {
      const Layer& layer = networks[n][l];
      float* const delta = by_value(l + 1);
      if (!whole(l)) {
        path.derive(form.activation(l), layer.outputs, taped_at(l + 1),
                    tape_tile + taped.offsets[depth + 1 + l], delta, lanes);
      }
      if (layer.norm) {
        path.scale(layer.outputs, {layer.of_sums.factor}, delta, lanes, delta, lanes, lanes,
                   false);
      }
      ToComponents(path, layer, lanes, delta, tape_tile + taped.offsets[l],
                   of_values ? deltas + tiling.offsets[depth + l] : nullptr);
      if (form.Alone(l)) {
        const size_t value = form.Reads(l).front();
        if (value) {
          const bool relu = form.activation(value - 1) == kRelu;
          float* const to = by_value(value);
          path.backward(layer, delta, relu ? taped_at(value) : nullptr, to, lanes, lanes);
          ThroughInputNorm(path, layer, to, lanes, lanes);
        } else if (of_x) {
          // Where rows share their columns, the product adds to dx: that is done in the cache.
          const Place to =
              layer.shared() ? Place{by_x, lanes} : PlaceFor(to_x.At(n), tiling, t, by_x);
          path.backward(layer, delta, nullptr, to.data, to.step, lanes);
          ThroughInputNorm(path, layer, to.data, to.step, lanes);
          if (to.data == by_x) FromTile(by_x, widths[0], tiling, t, to_x.At(n));
        }
      } else if (l > 0 || of_x) {
        path.backward(layer, delta, nullptr, back, lanes, lanes);
        ThroughInputNorm(path, layer, back, lanes, lanes);
        Spread(form, layer, l, lanes, back, least, by_value);
      }
    }
    if (of_x && !form.Alone(0)) FromTile(by_x, widths[0], tiling, t, to_x.At(n));
  });
  if (of_values) Gradients(pool, form, networks, taped, taken, tiling, stored, gradient, nullptr);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* Backward(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, BackwardCall, (BindNetwork<3, 3>()));
  return handler(call_frame);
}

}  // namespace sparl
