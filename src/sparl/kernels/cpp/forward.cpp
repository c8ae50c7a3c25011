// Whole networks in one call. Layers are dense, packed or of circulant blocks, and connected as the
// form says. Tiles of the batch stay in a core's cache from the first layer to the last. Threads
// meet once per call, and once before that if there are many spectra to make (prepared.h).
//
// x [inputs, batch] and y [outputs, batch] are ordinary matrices. The backward call needs the
// *tape*, [tiles, features, lanes]: the inputs of every layer, and what slopes are computed from
// (form.h). A value is written where it is first read, and copied to where it is read again.

#include "batch_norms.h"
#include "bindings.h"
#include "kernels.h"
#include "operands.h"
#include "parallel.h"
#include "prepared.h"
#include "tape.h"

namespace sparl {
namespace {

// Computes tile number t of y. `tape` is that of the tile, or null if nothing is to be kept. An end
// that is not kept is written straight to y.
void ForwardTile(const Path& path, const std::vector<Layer>& layers, const Form& form,
                 const Tiling& taped, const float* x, int64_t t, float* tape, float* y) {
  const size_t depth = form.depth();
  const int64_t lanes = taped.lanes, widest = form.widest() * lanes;
  float* const components = Scratch(2 * widest + (tape ? 0 : taped.Stride()));
  float* const spare = components + widest;
  float* const values = tape ? tape : spare + widest;
  const auto home = [&](size_t value) { return values + At(form, taped, form.Home(value)); };
  IntoTile(x, form.widths()[0], taped, t, home(0));
  Share(form, taped, 0, t, values, y);
  for (size_t l = 0; l < depth; ++l) {
    const Layer& layer = layers[l];
    const Activation activation = form.activation(l);
    const float* from = values + taped.offsets[l];
    if (layer.input_norm) {
      path.scale(layer.inputs, layer.of_inputs, values + ReadBy(form, taped, l), lanes,
                 values + taped.offsets[l], lanes, lanes, false);
    }
    if (layer.circulant()) {
      path.analyse(layer.group, layer.inputs, from, components, lanes);
      from = components;
    }
    const bool straight = form.End(l + 1) && !(tape && form.Kept(l + 1));
    float* const rows = straight ? y + form.Given(l + 1).front() * taped.batch : nullptr;
    const Place to = straight ? PlaceFor(rows, taped, t, spare) : Place{home(l + 1), lanes};
    const bool relu = activation == kRelu;
    path.forward(layer, from, to.data, to.step, lanes, relu && !layer.norm);
    if (layer.norm) {
      path.scale(layer.outputs, layer.of_sums, to.data, to.step, to.data, to.step, lanes, relu);
    }
    float* const sigmoids = tape ? tape + taped.offsets[depth + 1 + l] : nullptr;
    path.activate(activation, layer.outputs, to.data, to.step, lanes, sigmoids);
    if (!straight) {
      Share(form, taped, l + 1, t, values, y);
    } else if (to.data == spare) {
      FromTile(spare, layer.outputs, taped, t, rows);
    }
  }
}

ffi::Error ForwardCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                       ffi::Result<Floats> y, ffi::Result<Floats>* tape, Span code) {
  const Form form(code);
  if (!form.error().empty()) return ffi::Error::InvalidArgument(form.error());
  if (y->dimensions().size() < 2) return ffi::Error::InvalidArgument("y is no matrix");
  const Dimensions batch = BatchOf(y->dimensions(), 2);
  const int64_t samples = y->dimensions().back();
  const Tiling taped(form.Taped(), samples);
  Reader reader(batch);
  const auto from = reader.Take<const float>(x, "x", {form.widths().front(), samples});
  const auto to = reader.Take<float>(*y, "y", {form.outputs(), samples});
  Stack<float> onto;
  if (tape) onto = reader.Take<float>(**tape, "tape", taped.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), false, &networks);
  if (error.failure()) return error;

  const Prepared prepared(pool, Prepared::kByRow, 0, &networks);
  const RunningNorms norms(&networks);
  const Path& path = CurrentPath();
  ParallelFor(pool, networks.size() * taped.count, [&](int64_t task) {
    const int64_t n = task / taped.count, t = task % taped.count;
    float* tape_tile = tape ? onto.At(n) + t * taped.Stride() : nullptr;
    ForwardTile(path, networks[n], form, taped, from.At(n), t, tape_tile, to.At(n));
  });
  return ffi::Error::Success();
}

ffi::Error InferCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                     ffi::Result<Floats> y, Span form) {
  return ForwardCall(pool, x, values, indices, y, nullptr, form);
}

ffi::Error TapedCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                     ffi::Result<Floats> y, ffi::Result<Floats> tape, Span form) {
  return ForwardCall(pool, x, values, indices, y, &tape, form);
}

}  // namespace

std::string InferHere(const Form& form, const float* values, int64_t value_count,
                      const int32_t* indices, int64_t index_count, const float* x, float* y,
                      int64_t batch) {
  if (value_count != form.values() || index_count != form.indices()) {
    return "the network has " + std::to_string(form.values()) + " values and " +
           std::to_string(form.indices()) + " indices, not " + std::to_string(value_count) +
           " and " + std::to_string(index_count);
  }
  Networks networks(1);
  ffi::Error error = form.Layers(values, indices, false, &networks[0]);
  if (error.failure()) return error.message();
  const Prepared prepared(Alone(), Prepared::kByRow, 0, &networks);
  const RunningNorms norms(&networks);
  const Tiling tiling(form.Taped(), batch);
  for (int64_t t = 0; t < tiling.count; ++t) {
    ForwardTile(CurrentPath(), networks[0], form, tiling, x, t, nullptr, y);
  }
  return "";
}

XLA_FFI_Error* Infer(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, InferCall, (BindNetwork<2, 1>()));
  return handler(call_frame);
}

XLA_FFI_Error* Forward(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, TapedCall, (BindNetwork<2, 2>()));
  return handler(call_frame);
}

}  // namespace sparl
