// Outputs of networks while their batch norms are trained; see by_batch.h.

#include "bindings.h"
#include "by_batch.h"
#include "kernels.h"
#include "parallel.h"
#include "prepared.h"

namespace sparl {
namespace {

// One network on its way.
struct Way {
  const std::vector<Layer>* layers;
  const float* x;
  float *y, *tape, *statistics;
  Parts parts;
  std::vector<float> numbers;
  Affine norm;  // what the norm amounts to at which threads met last
};

// Mean and variance of all samples, from each tile's mean and its sum of squared deviations.
void Moments(Way& way, const Tiling& tiling, int64_t features, float* mean, float* variance) {
  std::fill_n(mean, 2 * features, 0.0f);
  for (int64_t t = 0; t < tiling.count; ++t) {
    const float share = static_cast<float>(tiling.There(t)) / tiling.batch;
    const float* const first = way.parts.First(t);
    for (int64_t f = 0; f < features; ++f) mean[f] += share * first[f];
  }
  for (int64_t t = 0; t < tiling.count; ++t) {
    const float there = tiling.There(t);
    const float *const first = way.parts.First(t), *const second = way.parts.Second(t);
    for (int64_t f = 0; f < features; ++f) {
      const float off = first[f] - mean[f];
      variance[f] += second[f] + there * off * off;
    }
  }
  for (int64_t f = 0; f < features; ++f) variance[f] /= tiling.batch;
}

// Sets the statistics of a norm, and what it amounts to.
void Meet(Way& way, const Form& form, const Tiling& tiling, Meeting meeting, bool renormalise) {
  const BatchNorm norm(form, (*way.layers)[meeting.layer], meeting, way.statistics);
  float* const mean = way.statistics + norm.seen;
  Moments(way, tiling, norm.features, mean, mean + norm.features);
  float *const factor = way.numbers.data(), *const offset = factor + form.widest();
  for (int64_t f = 0; f < norm.features; ++f) {
    const float gain = renormalise ? norm.gain[f] * norm.Stretch(f) : norm.gain[f];
    factor[f] = gain * Rate(norm.variance[f]);
    offset[f] = norm.shift[f] - factor[f] * norm.mean[f];
    if (renormalise) offset[f] += norm.gain[f] * norm.Move(f);
  }
  way.norm = {factor, offset};
}

// Takes tile number t from one meeting to the next. `last` is null at the beginning. `given` are the
// tiles of the samples whose outputs are wanted.
void Advance(const Path& path, const Form& form, const Tiling& taped, const Tiling& given, Way& way,
             const Meeting* last, int64_t t) {
  const size_t depth = form.depth();
  const int64_t lanes = taped.lanes, there = taped.There(t);
  float* const tile = way.tape + t * taped.Stride();
  float* const spare = Scratch(2 * form.widest() * lanes);
  float* const components = spare + form.widest() * lanes;
  const auto moments = [&](int64_t features, const float* x) {
    path.moments(features, x, there, lanes, way.parts.First(t), way.parts.Second(t));
  };
  // Where a layer's output is made: in place of its sums, normalised if they are to be.
  const auto place = [&](size_t l) {
    return form.Kept(l + 1) ? tile + At(form, taped, form.Home(l + 1)) : spare;
  };
  const auto finish = [&](size_t l) {
    float* const to = place(l);
    const int64_t outputs = form.widths()[l + 1];
    path.activate(form.activation(l), outputs, to, lanes, lanes,
                  tile + taped.offsets[depth + 1 + l]);
    if (form.Kept(l + 1)) return Share(form, given, l + 1, t, tile, way.y);
    if (t >= given.count) return;
    FromTile(to, outputs, given, t, way.y + form.Given(l + 1).front() * given.batch);
  };
  if (!last) {
    IntoTile(way.x, form.widths()[0], taped, t, tile + At(form, taped, form.Home(0)));
    Share(form, given, 0, t, tile, way.y);
  } else if (last->sums) {
    const size_t l = last->layer;
    path.scale(form.widths()[l + 1], way.norm, tile + SumsOf(form, taped, l), lanes, place(l),
               lanes, lanes, form.activation(l) == kRelu);
    finish(l);
  }
  bool normalised = last && !last->sums;
  for (size_t l = last ? last->layer + last->sums : 0; l < depth; ++l) {
    const Layer& layer = (*way.layers)[l];
    float* const inputs = tile + taped.offsets[l];
    if (layer.input_norm) {
      const float* const read = tile + ReadBy(form, taped, l);
      if (!normalised) return moments(layer.inputs, read);
      path.scale(layer.inputs, way.norm, read, lanes, inputs, lanes, lanes, false);
      normalised = false;
    }
    const float* from = inputs;
    if (layer.circulant()) {
      path.analyse(layer.group, layer.inputs, from, components, lanes);
      from = components;
    }
    float* const sums = layer.norm ? tile + SumsOf(form, taped, l) : place(l);
    const bool relu = !layer.norm && form.activation(l) == kRelu;
    path.forward(layer, from, sums, lanes, lanes, relu);
    if (layer.norm) return moments(layer.outputs, sums);
    finish(l);
  }
}

ffi::Error ForwardByBatchCall(ffi::ThreadPool pool, Floats x, Floats renormalise, Floats values,
                              Indices indices, ffi::Result<Floats> y, ffi::Result<Floats> tape,
                              ffi::Result<Floats> statistics, Span code) {
  const Form form(code);
  const std::string wrong = Wrong(form);
  if (!wrong.empty()) return ffi::Error::InvalidArgument(wrong);
  if (y->dimensions().size() < 2) return ffi::Error::InvalidArgument("y is no matrix");
  if (x.dimensions().size() < 2) return ffi::Error::InvalidArgument("x is no matrix");
  const Dimensions batch = BatchOf(y->dimensions(), 2);
  const int64_t samples = x.dimensions().back(), wanted = y->dimensions().back();
  if (wanted > samples) return ffi::Error::InvalidArgument("y has more samples than x");
  const Tiling taped(TapedByBatch(form), samples), given = taped.First(wanted);
  Reader reader(batch);
  const auto from = reader.Take<const float>(x, "x", {form.widths().front(), samples});
  const auto corrected = reader.Take<const float>(renormalise, "renormalise", {1});
  const auto to = reader.Take<float>(*y, "y", {form.outputs(), wanted});
  const auto onto = reader.Take<float>(*tape, "tape", taped.Core());
  const auto seen = reader.Take<float>(*statistics, "statistics", {StatisticsOf(form)});
  Networks networks;
  ffi::Error error = ReadNetworks(form, reader, values, indices, Count(batch), false, &networks);
  if (error.failure()) return error;

  const Prepared prepared(pool, Prepared::kByRow, 0, &networks);
  const Path& path = CurrentPath();
  std::vector<Way> ways;
  for (size_t n = 0; n < networks.size(); ++n) {
    ways.push_back({&networks[n], from.At(n), to.At(n), onto.At(n), seen.At(n),
                    Parts(form, taped.count), std::vector<float>(2 * form.widest()), {}});
  }
  const Meeting* last = nullptr;
  const auto advance = [&](int64_t tiles) {
    ParallelFor(pool, ways.size() * tiles, [&](int64_t task) {
      Advance(path, form, taped, given, ways[task / tiles], last, task % tiles);
    });
  };
  const std::vector<Meeting> meetings = Meetings(form);
  for (const Meeting& meeting : meetings) {
    advance(taped.count);
    for (size_t n = 0; n < ways.size(); ++n) {
      Meet(ways[n], form, taped, meeting, *corrected.At(n) != 0);
    }
    last = &meeting;
  }
  advance(given.count);  // no norm needs what comes behind the last meeting
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* ForwardByBatch(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, ForwardByBatchCall, (BindNetwork<3, 3>()));
  return handler(call_frame);
}

}  // namespace sparl
