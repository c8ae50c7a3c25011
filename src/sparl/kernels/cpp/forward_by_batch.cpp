// Outputs of networks while their batch norms are trained; see by_batch.h.

#include "batch_norms.h"
#include "bindings.h"
#include "by_batch.h"
#include "kernels.h"
#include "parallel.h"
#include "prepared.h"
#include "tape.h"

namespace sparl {
namespace {

// Mean and variance of a layer's sums, from each tile's mean and its sum of squared deviations.
void Moments(Parts& parts, const Tiling& tiling, int64_t outputs, float* mean, float* variance) {
  for (int64_t f = 0; f < outputs; ++f) {
    float total = 0, squares = 0;
    for (int64_t t = 0; t < tiling.count; ++t) total += tiling.There(t) * parts.First(t)[f];
    mean[f] = total / tiling.batch;
    for (int64_t t = 0; t < tiling.count; ++t) {
      const float off = parts.First(t)[f] - mean[f];
      squares += parts.Second(t)[f] + tiling.There(t) * off * off;
    }
    variance[f] = squares / tiling.batch;
  }
}

// The output, the tape and the statistics of one network.
void ForwardNetwork(ffi::ThreadPool pool, const Form& form, const std::vector<Layer>& layers,
                    const Tiling& taped, const float* x, float* y, float* tape, float* statistics) {
  const Path& path = CurrentPath();
  const size_t depth = form.depth();
  const int64_t lanes = taped.lanes, widest = form.widest() * lanes;
  Parts parts(form, taped.count);
  std::vector<float> numbers(2 * form.widest());
  Layer before;  // the layer whose sums are complete
  for (size_t l = 0; l <= depth; ++l) {
    ParallelFor(pool, taped.count, [&](int64_t t) {
      float* const tile = tape + t * taped.Stride();
      float* const spare = Scratch(widest);
      if (l == 0) {
        IntoTile(x, form.widths()[0], taped, t, tile + At(taped, form.Home(0)));
        Share(form, taped, 0, t, tile, y);
      } else {
        const bool kept = form.Kept(l);
        float* const to = kept ? tile + At(taped, form.Home(l)) : spare;
        std::copy_n(tile + taped.offsets[2 * depth + l], before.outputs * lanes, to);
        Normalise(before, to, lanes, lanes);
        path.activate(form.activation(l - 1), before.outputs, to, lanes, lanes,
                      tile + taped.offsets[depth + l]);
        if (kept) {
          Share(form, taped, l, t, tile, y);
        } else {
          FromTile(to, before.outputs, taped, t, y + form.Given(l).front() * taped.batch);
        }
      }
      if (l == depth) return;
      const Layer& layer = layers[l];
      const float* from = tile + taped.offsets[l];
      if (layer.circulant()) {
        path.analyse(layer.group, layer.inputs, from, spare, lanes);
        from = spare;
      }
      float* sums = tile + taped.offsets[2 * depth + 1 + l];
      path.forward(layer, from, sums, lanes, lanes, false);
      const int64_t there = taped.There(t);
      for (int64_t f = 0; f < layer.outputs; ++f, sums += lanes) {
        const float mean = Sum(there, [&](int64_t i) { return sums[i]; }) / there;
        parts.First(t)[f] = mean;
        parts.Second(t)[f] = Sum(there, [&](int64_t i) {
          return (sums[i] - mean) * (sums[i] - mean);
        });
      }
    });
    if (l == depth) return;
    before = layers[l];
    const int64_t outputs = before.outputs;
    float *const mean = statistics, *const variance = mean + outputs;
    Moments(parts, taped, outputs, mean, variance);
    SetAffine({before.norm, before.norm + outputs, mean, variance}, numbers.data(), &before);
    statistics += 2 * outputs;
  }
}

ffi::Error ForwardByBatchCall(ffi::ThreadPool pool, Floats x, Floats values, Indices indices,
                              ffi::Result<Floats> y, ffi::Result<Floats> tape,
                              ffi::Result<Floats> statistics, Span code) {
  const Form form(code);
  const std::string wrong = Wrong(form);
  if (!wrong.empty()) return ffi::Error::InvalidArgument(wrong);
  if (y->dimensions().size() < 2) return ffi::Error::InvalidArgument("y is no matrix");
  const Dimensions batch = BatchOf(y->dimensions(), 2);
  const int64_t samples = y->dimensions().back();
  const Tiling taped(TapedByBatch(form), samples);
  Reader reader(batch);
  const auto from = reader.Take<const float>(x, "x", {form.widths().front(), samples});
  const auto to = reader.Take<float>(*y, "y", {form.outputs(), samples});
  const auto onto = reader.Take<float>(*tape, "tape", taped.Core());
  const auto seen = reader.Take<float>(*statistics, "statistics", {StatisticsOf(form)});
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), false, &networks);
  if (error.failure()) return error;

  const Prepared prepared(pool, Prepared::kByRow, 0, &networks);
  for (size_t n = 0; n < networks.size(); ++n) {
    ForwardNetwork(pool, form, networks[n], taped, from.At(n), to.At(n), onto.At(n), seen.At(n));
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* ForwardByBatch(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, ForwardByBatchCall, (BindNetwork<2, 3>()));
  return handler(call_frame);
}

}  // namespace sparl
