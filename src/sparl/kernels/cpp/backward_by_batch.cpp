// Gradients of networks while their batch norms are trained; see by_batch.h.

#include "bindings.h"
#include "by_batch.h"
#include "deltas.h"
#include "kernels.h"
#include "prepared.h"

namespace sparl {
namespace {

// One network on its way back.
struct WayBack {
  const std::vector<Layer>* layers;
  const float *dy, *tape, *statistics;
  float *dvalues, *dx, *deltas;
  Parts parts;
  std::vector<float> rates;  // of all norms, in their order
  std::vector<float> numbers;
  Normalised met;  // the norm at which threads met last

  // A norm as `norm_sums` needs it.
  Normalised Of(const Form& form, Meeting meeting) const {
    const BatchNorm norm(form, (*layers)[meeting.layer], meeting, statistics);
    return {norm.mean, rates.data() + norm.seen / 2, nullptr, nullptr, nullptr};
  }
};

std::vector<float> Rates(const Form& form, const std::vector<Layer>& layers,
                         const float* statistics) {
  std::vector<float> rates;
  rates.resize(StatisticsOf(form) / 2);
  for (const Meeting& meeting : Meetings(form)) {
    const BatchNorm norm(form, layers[meeting.layer], meeting, statistics);
    float* const to = rates.data() + norm.seen / 2;
    for (int64_t f = 0; f < norm.features; ++f) to[f] = Rate(norm.variance[f]);
  }
  return rates;
}

// Writes the gradients of a norm, and what those by what it takes are made from (1502.03167).
void Meet(WayBack& way, const Form& form, const Tiling& tiling, Meeting meeting, bool renormalise) {
  const BatchNorm norm(form, (*way.layers)[meeting.layer], meeting, way.statistics);
  const int64_t features = norm.features;
  float *const by_gain = way.dvalues + norm.at, *const by_shift = by_gain + features;
  std::fill_n(by_gain, 4 * features, 0.0f);
  for (int64_t t = 0; t < tiling.count; ++t) {
    const float *const first = way.parts.First(t), *const second = way.parts.Second(t);
    for (int64_t f = 0; f < features; ++f) by_shift[f] += first[f], by_gain[f] += second[f];
  }
  const int64_t width = form.widest();
  float* const factor = way.numbers.data();
  float *const shift = factor + width, *const slope = shift + width;
  way.met = way.Of(form, meeting);
  const float* const rate = way.met.rate;
  way.met.factor = factor, way.met.shift = shift, way.met.slope = slope;
  for (int64_t f = 0; f < features; ++f) {
    const float stretch = renormalise ? norm.Stretch(f) : 1.0f;
    factor[f] = norm.gain[f] * stretch * rate[f];
    shift[f] = by_shift[f] / tiling.batch;
    slope[f] = rate[f] * by_gain[f] / tiling.batch;
    if (renormalise) by_gain[f] = stretch * by_gain[f] + norm.Move(f) * by_shift[f];
  }
}

// Takes tile number t from one meeting back to the one before. `last` is null at the beginning;
// `given` are the tiles that dy has samples of, and `least` is the first value whose gradient is
// wanted.
void Retreat(const Path& path, const Form& form, const Tiling& taped, const Tiling& tiling,
             const Tiling& given, WayBack& way, const Meeting* last, size_t least, int64_t t) {
  const size_t depth = form.depth();
  const int64_t lanes = tiling.lanes, there = tiling.There(t);
  const float* const tape = way.tape + t * taped.Stride();
  float* const tile = way.deltas + t * tiling.Stride();
  float* const spare = Scratch(form.widest() * lanes);
  const auto by_value = [&](size_t value) {
    return tile + tiling.offsets[value ? value - 1 : 2 * depth];
  };
  const auto by_inputs = [&](size_t l) { return tile + tiling.offsets[2 * depth + 1 + l]; };
  const auto sums = [&](Meeting meeting, int64_t features, const float* by_norm) {
    path.norm_sums(features, way.Of(form, meeting), tape + TakenBy(form, taped, meeting), by_norm, lanes,
                   way.parts.First(t), way.parts.Second(t));
  };
  const auto through = [&](int64_t features, const float* by_norm, bool relu, float* to) {
    path.through_norm(features, way.met, tape + TakenBy(form, taped, *last), by_norm, there, lanes,
                      relu, to);
  };
  // Whether the gradient by what a layer reads is written where it belongs in one pass. The slope of
  // a ReLU, if one made that value, is then part of the pass, and `derived` says so.
  const auto at_once = [&](size_t l) { return form.Alone(l) && form.Reads(l).front() >= least; };
  const auto relu_of = [&](size_t value) { return value && form.activation(value - 1) == kRelu; };
  const auto derived = [&](size_t value) {
    return form.activation(value - 1) == kNone ||
           (relu_of(value) && !form.End(value) && form.Alone(form.Home(value).layer));
  };
  size_t l = depth;
  if (!last && t >= given.count) {
    // Zero gradients, up to the norm that comes first; its sums of this tile are zero from the start.
    std::fill_n(tile, tiling.Stride(), 0.0f);
    return;
  }
  if (!last) {
    TakeGiven(form, given, way.dy, t, least, by_value, spare);
  } else if (last->sums) {
    l = last->layer + 1;
    through(form.widths()[l], by_value(l), false, by_value(l));
  } else {
    l = last->layer;
    const Layer& layer = (*way.layers)[l];
    if (at_once(l)) {
      const size_t value = form.Reads(l).front();
      through(layer.inputs, by_inputs(l), relu_of(value), by_value(value));
    } else if (l >= least) {
      through(layer.inputs, by_inputs(l), false, by_inputs(l));
      Spread(form, layer, l, lanes, by_inputs(l), least, by_value);
    }
  }
  bool through_sums = last && last->sums;
  while (l-- > 0) {
    const Layer& layer = (*way.layers)[l];
    float* const delta = by_value(l + 1);
    if (!through_sums) {
      if (!derived(l + 1)) {
        path.derive(form.activation(l), layer.outputs, tape + At(form, taped, form.Home(l + 1)),
                    tape + taped.offsets[depth + 1 + l], delta, lanes);
      }
      if (layer.norm) return sums({l, true}, layer.outputs, delta);
    }
    through_sums = false;
    ToComponents(path, layer, lanes, delta, tape + taped.offsets[l],
                 tile + tiling.offsets[depth + l]);
    if (layer.input_norm) {
      path.backward(layer, delta, nullptr, by_inputs(l), lanes, lanes);
      return sums({l, false}, layer.inputs, by_inputs(l));
    }
    if (at_once(l)) {
      const size_t value = form.Reads(l).front();
      const float* const active = tape + At(form, taped, form.Home(value));
      path.backward(layer, delta, relu_of(value) ? active : nullptr, by_value(value), lanes, lanes);
    } else if (l >= least) {
      path.backward(layer, delta, nullptr, spare, lanes, lanes);
      Spread(form, layer, l, lanes, spare, least, by_value);
    }
  }
  if (way.dx) FromTile(by_value(0), form.widths()[0], tiling, t, way.dx);
}

// The gradients of all values, and of x if its result has any features. Those of running statistics
// are zero, and so are those of biases in front of a norm.
ffi::Error BackwardByBatchCall(ffi::ThreadPool pool, Floats dy, Floats tape, Floats statistics,
                               Floats renormalise, Floats values, Indices indices,
                               ffi::Result<Floats> dvalues, ffi::Result<Floats> dx,
                               ffi::Result<Floats> deltas, Span code) {
  const Form form(code);
  const std::string wrong = Wrong(form);
  if (!wrong.empty()) return ffi::Error::InvalidArgument(wrong);
  if (dx->dimensions().size() < 2) return ffi::Error::InvalidArgument("dx is no matrix");
  if (dy.dimensions().size() < 2) return ffi::Error::InvalidArgument("dy is no matrix");
  const Dimensions batch = BatchOf(dx->dimensions(), 2);
  const bool of_x = dx->dimensions()[batch.size()] > 0;
  const int64_t samples = dx->dimensions().back(), wanted = dy.dimensions().back();
  if (wanted > samples) return ffi::Error::InvalidArgument("dy has more samples than x");
  const Tiling taped(TapedByBatch(form), samples), tiling(DeltasByBatch(form, of_x), samples);
  const Tiling given = tiling.First(wanted);
  Reader reader(batch);
  const auto from = reader.Take<const float>(dy, "dy", {form.outputs(), wanted});
  const auto taken = reader.Take<const float>(tape, "tape", taped.Core());
  const auto seen = reader.Take<const float>(statistics, "statistics", {StatisticsOf(form)});
  const auto corrected = reader.Take<const float>(renormalise, "renormalise", {1});
  const auto gradient = reader.Take<float>(*dvalues, "dvalues", {form.values()});
  const auto to_x = reader.Take<float>(*dx, "dx", {of_x ? form.widths()[0] : 0, samples});
  const auto stored = reader.Take<float>(*deltas, "deltas", tiling.Core());
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), true, &networks);
  if (error.failure()) return error;

  const size_t least = of_x ? 0 : 1;
  const Prepared prepared(pool, Prepared::kByColumn, form.input_normed(0) ? 0 : least, &networks);
  const Path& path = CurrentPath();
  std::vector<WayBack> ways;
  for (size_t n = 0; n < networks.size(); ++n) {
    ways.push_back({&networks[n], from.At(n), taken.At(n), seen.At(n), gradient.At(n),
                    of_x ? to_x.At(n) : nullptr, stored.At(n), Parts(form, tiling.count),
                    Rates(form, networks[n], seen.At(n)), std::vector<float>(3 * form.widest()),
                    {}});
  }
  std::vector<Meeting> meetings = Meetings(form);
  std::reverse(meetings.begin(), meetings.end());
  const Meeting* last = nullptr;
  const auto retreat = [&] {
    ParallelFor(pool, ways.size() * tiling.count, [&](int64_t task) {
      Retreat(path, form, taped, tiling, given, ways[task / tiling.count], last, least,
              task % tiling.count);
    });
  };
  for (const Meeting& meeting : meetings) {
    retreat();
    for (size_t n = 0; n < ways.size(); ++n) {
      Meet(ways[n], form, tiling, meeting, *corrected.At(n) != 0);
    }
    last = &meeting;
  }
  retreat();
  const Meeting& norm = meetings.front();
  const Behind behind{norm.layer + norm.sums, wanted};
  Gradients(pool, form, networks, taped, taken, tiling, stored, gradient, &behind);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* BackwardByBatch(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, BackwardByBatchCall, (BindNetwork<5, 3>()));
  return handler(call_frame);
}

}  // namespace sparl
