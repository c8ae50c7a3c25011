// The gradients of whole networks, from dy and the tape of the forward call (forward.cpp), in one
// call: first the *deltas*, the gradients of every layer's sums, tile by tile as far down as they
// are needed, then from tape and deltas the gradients of weights and biases. The gradient of a value
// that several layers read is the sum of theirs, the last layer's first, and before them what dy has
// of a value that the network gives.
//
// For a layer of circulant blocks both are turned into components (spectra.h), the deltas in place.

#include "batch_norms.h"
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

// To `to`, or in its place if it is the `first`.
void Add(const float* part, int64_t count, bool first, float* to) {
  if (first) {
    std::copy_n(part, count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] += part[i];
  }
}

// The gradients of values and of x; one whose result has no features is not wanted. `deltas` is
// memory for them where gradients of values are wanted, which a network with batch norms has none of:
// its running statistics are no parameters, and for those of gains the tape would have to keep sums.
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

  const Prepared prepared(pool, Prepared::kByColumn, of_x ? 0 : 1, &networks);
  const BatchNorms norms(&networks);
  const int64_t lanes = tiling.lanes, widest = form.widest() * lanes;
  const Path& path = CurrentPath();
  // Whether what a layer gives comes back with the slope of its activation in it already.
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
    const auto taped_at = [&](size_t value) {
      const Form::Use home = form.Home(value);
      return tape_tile + taped.offsets[home.layer] + home.feature * lanes;
    };
    // Gradients by a value: those by what gives it become the layer's deltas.
    const auto by_value = [&](size_t value) {
      return value ? deltas + tiling.offsets[value - 1] : by_x;
    };
    for (size_t value = of_x ? 0 : 1; value <= depth; ++value) {
      bool first = true;
      for (int64_t row : form.Given(value)) {
        float* const to = first ? by_value(value) : back;
        IntoTile(from.At(n) + row * tiling.batch, widths[value], tiling, t, to);
        if (!first) Add(back, widths[value] * lanes, false, by_value(value));
        first = false;
      }
    }
    for (size_t l = depth; l-- > 0;) {
      const Layer& layer = networks[n][l];
      float* const delta = by_value(l + 1);
      if (!whole(l)) {
        path.derive(form.activation(l), layer.outputs, taped_at(l + 1),
                    tape_tile + taped.offsets[depth + 1 + l], delta, lanes);
      }
      if (layer.factor) ThroughNorm(layer, delta, lanes);
      if (layer.circulant()) {
        path.analyse(layer.group, layer.outputs, delta, delta, lanes);
        float* const components = deltas + tiling.offsets[depth + l];
        const float* inputs = tape_tile + taped.offsets[l];
        if (of_values) path.analyse(layer.group, layer.inputs, inputs, components, lanes);
      }
      const std::vector<size_t>& reads = form.Reads(l);
      if (form.Alone(l)) {
        const size_t value = reads[0];
        if (value) {
          const bool relu = form.activation(value - 1) == kRelu;
          path.backward(layer, delta, relu ? taped_at(value) : nullptr, by_value(value), lanes,
                        lanes);
        } else if (of_x) {
          const Place to = PlaceFor(to_x.At(n), tiling, t, by_x);
          path.backward(layer, delta, nullptr, to.data, to.step, lanes);
          if (to.data == by_x) FromTile(by_x, widths[0], tiling, t, to_x.At(n));
        }
      } else if (l > 0 || of_x) {
        path.backward(layer, delta, nullptr, back, lanes, lanes);
        // Layers come last first, and so does what they read: the first to come is a value's last use.
        int64_t feature = layer.inputs;
        for (size_t r = reads.size(); r-- > 0;) {
          feature -= widths[reads[r]];
          const Form::Use last = form.Uses(reads[r]).back();
          const bool first =
              last.layer == l && last.feature == feature && form.Given(reads[r]).empty();
          Add(back + feature * lanes, widths[reads[r]] * lanes, first, by_value(reads[r]));
        }
      }
    }
    if (of_x && !form.Alone(0)) FromTile(by_x, widths[0], tiling, t, to_x.At(n));
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
                             .Attr<Span>("form"));
  return handler(call_frame);
}

}  // namespace sparl
