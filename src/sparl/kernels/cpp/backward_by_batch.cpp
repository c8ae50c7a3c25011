// Gradients of networks while their batch norms are trained; see by_batch.h.

#include "batch_norms.h"
#include "bindings.h"
#include "by_batch.h"
#include "deltas.h"
#include "kernels.h"
#include "prepared.h"
#include "tape.h"

namespace sparl {
namespace {

// For one network: the deltas of all layers, and dx if it is not null. Of `dvalues` it writes the
// gradients of norms only.
void BackwardNetwork(ffi::ThreadPool pool, const Form& form, const std::vector<Layer>& layers,
                     const Tiling& taped, const Tiling& tiling, const float* dy, const float* tape,
                     const float* statistics, float* dvalues, float* dx, float* deltas) {
  const Path& path = CurrentPath();
  const size_t depth = form.depth(), least = dx ? 0 : 1;
  const int64_t lanes = tiling.lanes, widest = form.widest() * lanes;
  Parts parts(form, tiling.count);
  std::vector<float> numbers(4 * form.widest());
  float* const by_shift = numbers.data() + 2 * form.widest();
  float* const by_gain = by_shift + form.widest();
  std::vector<Norm> norms;
  for (const Layer& layer : layers) {
    const int64_t outputs = layer.outputs;
    norms.push_back({layer.norm, layer.norm + outputs, statistics, statistics + outputs});
    statistics += 2 * outputs;
  }
  for (size_t l = depth + 1; l-- > 0;) {
    // `layer` is the one for which the gradients by the norm's outputs are known, tile by tile, and
    // the tiles' parts of their sums. In the first turn there is none. Each turn passes the
    // gradients back through norm and weights, and computes those of the layer below. Threads meet
    // in between.
    Layer layer = l < depth ? layers[l] : Layer{};
    if (l < depth) {
      const int64_t outputs = layer.outputs;
      for (int64_t f = 0; f < outputs; ++f) {
        by_shift[f] = by_gain[f] = 0;
        for (int64_t t = 0; t < tiling.count; ++t) {
          by_shift[f] += parts.First(t)[f], by_gain[f] += parts.Second(t)[f];
        }
      }
      float* const to = dvalues + form.NormOf(l);
      std::copy_n(by_gain, outputs, to), std::copy_n(by_shift, outputs, to + outputs);
      std::fill_n(to + 2 * outputs, 2 * outputs, 0.0f);
      SetAffine(norms[l], numbers.data(), &layer);
    }
    ParallelFor(pool, tiling.count, [&](int64_t t) {
      const float* const tape_tile = tape + t * taped.Stride();
      float* const tile = deltas + t * tiling.Stride();
      float* const spare = Scratch(widest);
      const auto by_value = [&](size_t value) {
        return tile + tiling.offsets[value ? value - 1 : 2 * depth];
      };
      const int64_t there = tiling.There(t);
      if (l == depth) {
        TakeGiven(form, tiling, dy, t, least, by_value, spare);
      } else {
        float* const delta = by_value(l + 1);
        const float* sums = tape_tile + taped.offsets[2 * depth + 1 + l];
        for (int64_t f = 0; f < layer.outputs; ++f, sums += lanes) {
          // factor (d - mean(d) - x mean(d x)), with x the normalised sums (1502.03167).
          const float rate = Rate(norms[l].variance[f]), mean = norms[l].mean[f];
          const float shift = by_shift[f] / tiling.batch, slope = rate * by_gain[f] / tiling.batch;
          float* const row = delta + f * lanes;
          for (int64_t i = 0; i < lanes; ++i) {
            row[i] = layer.factor[f] * (row[i] - shift - slope * (sums[i] - mean));
          }
          std::fill(row + there, row + lanes, 0.0f);
        }
        ToComponents(path, layer, lanes, delta, tape_tile + taped.offsets[l],
                     tile + tiling.offsets[depth + l]);
        if (l >= least) PassBack(path, form, layer, l, lanes, delta, least, by_value, spare);
      }
      if (l == 0) {
        if (dx) FromTile(by_value(0), form.widths()[0], tiling, t, dx);
        return;
      }
      // Now the gradient by the outputs of the norm of the layer below is complete.
      const Norm& norm = norms[l - 1];
      float* delta = by_value(l);
      const float* sums = tape_tile + taped.offsets[2 * depth + l];
      path.derive(form.activation(l - 1), form.widths()[l], tape_tile + At(taped, form.Home(l)),
                  tape_tile + taped.offsets[depth + l], delta, lanes);
      for (int64_t f = 0; f < form.widths()[l]; ++f, delta += lanes, sums += lanes) {
        const float mean = norm.mean[f];
        parts.First(t)[f] = Sum(there, [&](int64_t i) { return delta[i]; });
        parts.Second(t)[f] = Rate(norm.variance[f]) * Sum(there, [&](int64_t i) {
          return delta[i] * (sums[i] - mean);
        });
      }
    });
  }
}

// The gradients of all values, and of x if its result has any features. Those of biases and of
// running statistics are zero.
ffi::Error BackwardByBatchCall(ffi::ThreadPool pool, Floats dy, Floats tape, Floats statistics,
                               Floats values, Indices indices, ffi::Result<Floats> dvalues,
                               ffi::Result<Floats> dx, ffi::Result<Floats> deltas, Span code) {
  const Form form(code);
  const std::string wrong = Wrong(form);
  if (!wrong.empty()) return ffi::Error::InvalidArgument(wrong);
  if (dx->dimensions().size() < 2) return ffi::Error::InvalidArgument("dx is no matrix");
  const Dimensions batch = BatchOf(dx->dimensions(), 2);
  const bool of_x = dx->dimensions()[batch.size()] > 0;
  const int64_t samples = dx->dimensions().back();
  const Tiling taped(TapedByBatch(form), samples), tiling(DeltasByBatch(form, of_x), samples);
  Reader reader(batch);
  const auto from = reader.Take<const float>(dy, "dy", {form.outputs(), samples});
  const auto taken = reader.Take<const float>(tape, "tape", taped.Core());
  const auto seen = reader.Take<const float>(statistics, "statistics", {StatisticsOf(form)});
  const auto gradient = reader.Take<float>(*dvalues, "dvalues", {form.values()});
  const auto to_x = reader.Take<float>(*dx, "dx", {of_x ? form.widths()[0] : 0, samples});
  const auto stored = reader.Take<float>(*deltas, "deltas", tiling.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), true, &networks);
  if (error.failure()) return error;

  const Prepared prepared(pool, Prepared::kByColumn, of_x ? 0 : 1, &networks);
  for (size_t n = 0; n < networks.size(); ++n) {
    BackwardNetwork(pool, form, networks[n], taped, tiling, from.At(n), taken.At(n), seen.At(n),
                    gradient.At(n), of_x ? to_x.At(n) : nullptr, stored.At(n));
  }
  Gradients(pool, form, networks, taped, taken, tiling, stored, gradient);
  // Subtracting the batch's mean cancels a bias: all that is left of its gradient is rounding.
  for (size_t n = 0; n < networks.size(); ++n) {
    for (size_t l = 0; l < form.depth(); ++l) {
      const Layer& layer = networks[n][l];
      std::fill_n(gradient.At(n) + form.ValuesOf(l) + layer.weights(), layer.outputs, 0.0f);
    }
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* BackwardByBatch(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, BackwardByBatchCall, (BindNetwork<4, 3>()));
  return handler(call_frame);
}

}  // namespace sparl
