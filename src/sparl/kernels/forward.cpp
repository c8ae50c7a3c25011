// Whole networks in one call: layers with ReLU between them, dense, packed or of circulant blocks,
// over tiles of the batch that stay in a core's cache from the first layer to the last. Threads meet
// once per call, and once before if there are many spectra to make (prepared.h).
//
// x [inputs, batch] and y [outputs, batch] are ordinary matrices. What the backward call needs is
// the *tape*, [tiles, features, lanes]: the network's inputs and the values of every layer but the
// last (of every layer if the last has a ReLU, too).

#include "kernels.h"
#include "operands.h"
#include "parallel.h"
#include "prepared.h"
#include "tiling.h"

namespace sparl {
namespace {

// Tile number t of y; values are kept in `tape` (that tile's, or null) as far as it reaches.
void ForwardTile(const Path& path, const std::vector<Layer>& layers, const Form& form,
                 const Tiling& taped, const float* x, int64_t t, float* tape, float* y,
                 bool relu_last) {
  const size_t depth = form.depth();
  const int64_t lanes = taped.lanes, half = form.widest() * lanes;
  float* scratch = Scratch(3 * half);
  // Where the values before layer l are: on the tape, or in the two halves of the scratch.
  const auto values = [&](size_t l) {
    return tape && l < taped.offsets.size() ? tape + taped.offsets[l] : scratch + (l % 2) * half;
  };
  const auto run = [&](size_t l, float* to, int64_t step, bool relu) {
    const Layer& layer = layers[l];
    const float* from = values(l);
    if (layer.circulant()) {
      path.analyse(layer.group, layer.inputs, from, scratch + 2 * half, lanes);
      from = scratch + 2 * half;
    }
    path.forward(layer, from, to, step, lanes, relu);
  };
  IntoTile(x, form.widths()[0], taped, t, values(0));
  for (size_t l = 0; l + 1 < depth; ++l) run(l, values(l + 1), lanes, true);
  float* const last = values(depth);
  const bool last_taped = tape && relu_last;
  const Place to = last_taped ? Place{last, lanes} : PlaceFor(y, taped, t, last);
  run(depth - 1, to.data, to.step, relu_last);
  if (to.data == last) FromTile(last, form.widths()[depth], taped, t, y);
}

ffi::Error ForwardCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                       ffi::Result<Floats> y, ffi::Result<Floats>* tape, Span widths, Span kept,
                       Span groups, bool relu_last) {
  const Form form(widths, kept, groups);
  if (!form.error().empty()) return ffi::Error::InvalidArgument(form.error());
  if (y->dimensions().size() < 2) return ffi::Error::InvalidArgument("y is no matrix");
  const Dimensions batch = BatchOf(y->dimensions(), 2);
  const int64_t samples = y->dimensions().back();
  const Tiling taped(form.Taped(relu_last), samples);
  Reader reader(batch);
  const auto from = reader.Take<const float>(x, "x", {widths[0], samples});
  const auto to = reader.Take<float>(*y, "y", {widths[form.depth()], samples});
  Stack<float> onto;
  if (tape) onto = reader.Take<float>(**tape, "tape", taped.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), false, &networks);
  if (error.failure()) return error;

  const Prepared prepared(pool, Prepared::kByRow, 0, &networks);
  const Path& path = CurrentPath();
  ParallelFor(pool, networks.size() * taped.count, [&](int64_t task) {
    const int64_t n = task / taped.count, t = task % taped.count;
    float* tape_tile = tape ? onto.At(n) + t * taped.Stride() : nullptr;
    ForwardTile(path, networks[n], form, taped, from.At(n), t, tape_tile, to.At(n), relu_last);
  });
  return ffi::Error::Success();
}

ffi::Error InferCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                     ffi::Result<Floats> y, Span widths, Span kept, Span groups, bool relu_last) {
  return ForwardCall(pool, x, values, indices, y, nullptr, widths, kept, groups, relu_last);
}

ffi::Error TapedCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                     ffi::Result<Floats> y, ffi::Result<Floats> tape, Span widths, Span kept,
                     Span groups, bool relu_last) {
  return ForwardCall(pool, x, values, indices, y, &tape, widths, kept, groups, relu_last);
}

}  // namespace

std::string InferHere(Span widths, Span kept, Span groups, const float* values,
                      int64_t value_count, const int32_t* indices, int64_t index_count,
                      const float* x, float* y, int64_t batch) {
  const Form form(widths, kept, groups);
  if (!form.error().empty()) return form.error();
  if (value_count != form.values() || index_count != form.indices()) {
    return "the network has " + std::to_string(form.values()) + " values and " +
           std::to_string(form.indices()) + " indices, not " + std::to_string(value_count) +
           " and " + std::to_string(index_count);
  }
  Networks networks(1);
  ffi::Error error = form.Layers(values, indices, false, &networks[0]);
  if (error.failure()) return error.message();
  const Prepared prepared(Alone(), Prepared::kByRow, 0, &networks);
  const Tiling tiling(form.Taped(false), batch);
  for (int64_t t = 0; t < tiling.count; ++t) {
    ForwardTile(CurrentPath(), networks[0], form, tiling, x, t, nullptr, y, false);
  }
  return "";
}

XLA_FFI_Error* Infer(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, InferCall,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .Arg<Indices>()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("kept")
                             .Attr<Span>("groups")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

XLA_FFI_Error* Forward(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, TapedCall,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .Arg<Indices>()
                             .Ret<Floats>()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("kept")
                             .Attr<Span>("groups")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

}  // namespace sparl
