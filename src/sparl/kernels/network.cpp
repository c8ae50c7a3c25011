// Whole networks, one call for the values and up to three for the gradients: layers with ReLU
// between them, dense or packed, over tiles of the batch that stay in a core's cache from the first
// layer to the last. Threads meet once per call.
//
// x [inputs, batch], y [outputs, batch] and their gradients are ordinary matrices. What passes from
// the forward to the backward calls is in tiles (layer.h): the *tape*, [tiles, features, lanes],
// has the network's inputs and the values of every layer but the last (of every layer if the last
// has a ReLU, too); the *deltas*, shaped likewise, have the gradient of every layer's sums.

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"
#include "operands.h"
#include "parallel.h"

namespace sparl {
namespace {

// Where each layer's features begin in a tape or among the deltas, and how many there are in all.
struct Tiling {
  Tiling(Span widths, size_t first, size_t end, int64_t batch)
      : batch(batch), lanes(LanesFor(batch)), count((batch + lanes - 1) / lanes) {
    for (size_t l = first; l < end; ++l) {
      offsets.push_back(features * lanes);
      features += widths[l];
    }
  }

  std::vector<int64_t> Core() const { return {count, features, lanes}; }
  int64_t Stride() const { return features * lanes; }
  Tiles Of(size_t index, const float* data) const {
    return {data + offsets[index], Stride(), count, lanes};
  }

  int64_t batch, lanes, count, features = 0;
  std::vector<int64_t> offsets;
};

// A [rows, batch] matrix to and from tile number t; lanes beyond the batch are zero.
template <int64_t kTile>
void CopyWholeTile(const float* from, int64_t from_step, int64_t rows, float* to, int64_t to_step) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t lane = 0; lane < kTile; ++lane) to[r * to_step + lane] = from[r * from_step + lane];
  }
}

void CopyTile(const float* from, int64_t from_step, int64_t rows, int64_t width, float* to,
              int64_t to_step) {
  if (width == kLanes) return CopyWholeTile<kLanes>(from, from_step, rows, to, to_step);
  if (width == kFewLanes) return CopyWholeTile<kFewLanes>(from, from_step, rows, to, to_step);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_step, width, to + r * to_step);
}

void IntoTile(const float* matrix, int64_t rows, int64_t batch, int64_t t, int64_t lanes,
              float* tile) {
  const int64_t there = std::min(lanes, batch - t * lanes);
  if (there < lanes) std::fill_n(tile, rows * lanes, 0.0f);
  CopyTile(matrix + t * lanes, batch, rows, there, tile, lanes);
}

void FromTile(const float* tile, int64_t rows, int64_t batch, int64_t t, int64_t lanes,
              float* matrix) {
  CopyTile(tile, lanes, rows, std::min(lanes, batch - t * lanes), matrix + t * lanes, batch);
}

// Memory of a thread that outlives the call, so that small batches do not pay for allocation.
float* Scratch(int64_t floats) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < floats) memory.resize(floats);
  return memory.data();
}

Dimensions BatchOf(Dimensions result, size_t core) {
  return result.first(result.size() < core ? 0 : result.size() - core);
}

// y, and with `tape` what the backward calls need.
ffi::Error ForwardCall(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs arguments,
                       ffi::Result<Floats> y, ffi::Result<Floats>* tape, Span widths,
                       Span packed, bool relu_last) {
  const Dimensions stack = BatchOf(y->dimensions(), 2);
  Reader reader(stack);
  const Network network(reader, arguments, 0, widths, packed, {true, true, true, false});
  if (!reader.ok()) return reader.error();
  const size_t depth = network.size();
  const int64_t batch = y->dimensions().back();
  const Tiling tiling(widths, 0, depth + relu_last, batch);
  const auto from = reader.Take<const float>(x, "x", {widths[0], batch});
  const auto to = reader.Take<float>(*y, "y", {widths[depth], batch});
  Stack<float> kept;
  if (tape) kept = reader.Take<float>(**tape, "tape", tiling.Core());
  if (!reader.ok()) return reader.error();

  const int64_t lanes = tiling.lanes;
  const int64_t widest = *std::max_element(widths.begin(), widths.end());
  const Path& path = CurrentPath();
  std::vector<std::vector<Layer>> layers(Count(stack));
  for (size_t n = 0; n < layers.size(); ++n) {
    if (ffi::Error error = network.At(n, &layers[n]); error.failure()) return error;
  }
  ParallelFor(pool, layers.size() * tiling.count, [&](int64_t task) {
    const int64_t n = task / tiling.count, t = task % tiling.count;
    float* scratch = Scratch(2 * widest * lanes);
    // Where the values before layer l are: on the tape, or in the two halves of the scratch.
    auto values = [&](size_t l) {
      if (tape && l < tiling.offsets.size()) {
        return kept.At(n) + t * tiling.Stride() + tiling.offsets[l];
      }
      return scratch + (l % 2) * widest * lanes;
    };
    IntoTile(from.At(n), widths[0], batch, t, lanes, values(0));
    for (size_t l = 0; l < depth; ++l) {
      path.forward(layers[n][l], values(l), values(l + 1), lanes, l + 1 < depth || relu_last);
    }
    FromTile(values(depth), widths[depth], batch, t, lanes, to.At(n));
  });
  return ffi::Error::Success();
}

ffi::Error InferNetwork(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs arguments,
                        ffi::Result<Floats> y, Span widths, Span packed, bool relu_last) {
  return ForwardCall(pool, x, arguments, y, nullptr, widths, packed, relu_last);
}

ffi::Error ForwardNetwork(ffi::ThreadPool pool, Floats x, ffi::RemainingArgs arguments,
                          ffi::Result<Floats> y, ffi::Result<Floats> tape, Span widths,
                          Span packed, bool relu_last) {
  return ForwardCall(pool, x, arguments, y, &tape, widths, packed, relu_last);
}

// Packed values in the order of their columns, once for all tiles.
class ByColumn {
 public:
  // Of all layers of each network from number `first` on.
  ByColumn(ffi::ThreadPool pool, const std::vector<std::vector<Layer>>& networks, size_t first) {
    struct Part {
      const Layer* layer;
      float* values;
      int64_t from, end;
    };
    constexpr int64_t kAtOnce = 16384;
    int64_t kept = 0;
    for (const auto& layers : networks) {
      for (size_t l = first; l < layers.size(); ++l) kept += layers[l].kept;
    }
    memory_.reset(new float[kept]);
    float* next = memory_.get();
    std::vector<Part> parts;
    for (const auto& layers : networks) {
      values_.emplace_back(layers.size(), nullptr);
      for (size_t l = first; l < layers.size(); ++l) {
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

// The deltas of all layers from dy.
ffi::Error DeltasOfNetwork(ffi::ThreadPool pool, Floats dy, Floats tape,
                           ffi::RemainingArgs arguments, ffi::Result<Floats> deltas, Span widths,
                           Span packed, bool relu_last) {
  const Dimensions stack = BatchOf(deltas->dimensions(), 3);
  Reader reader(stack);
  const Network network(reader, arguments, 0, widths, packed, {true, false, false, true});
  if (!reader.ok()) return reader.error();
  const size_t depth = network.size();
  const int64_t batch = dy.dimensions().size() ? dy.dimensions().back() : 0;
  const Tiling taped(widths, 0, depth + relu_last, batch);
  const Tiling tiling(widths, 1, depth + 1, batch);
  const auto from = reader.Take<const float>(dy, "dy", {widths[depth], batch});
  const auto values = reader.Take<const float>(tape, "tape", taped.Core());
  const auto to = reader.Take<float>(*deltas, "deltas", tiling.Core());
  if (!reader.ok()) return reader.error();

  std::vector<std::vector<Layer>> layers(Count(stack));
  for (size_t n = 0; n < layers.size(); ++n) {
    if (ffi::Error error = network.At(n, &layers[n]); error.failure()) return error;
  }
  // The first layer's are for the gradient of the inputs, which is another call.
  const ByColumn by_column(pool, layers, 1);
  const int64_t lanes = tiling.lanes;
  const Path& path = CurrentPath();
  ParallelFor(pool, layers.size() * tiling.count, [&](int64_t task) {
    const int64_t n = task / tiling.count, t = task % tiling.count;
    const float* tape_tile = values.At(n) + t * taped.Stride();
    float* tile = to.At(n) + t * tiling.Stride();
    float* last = tile + tiling.offsets[depth - 1];
    IntoTile(from.At(n), widths[depth], batch, t, lanes, last);
    if (relu_last) {
      const float* active = tape_tile + taped.offsets[depth];
      for (int64_t i = 0; i < widths[depth] * lanes; ++i) {
        last[i] = active[i] > 0 ? last[i] : 0.0f;
      }
    }
    for (size_t l = depth - 1; l > 0; --l) {
      path.backward(layers[n][l], by_column.Of(n, l), tile + tiling.offsets[l],
                    tape_tile + taped.offsets[l], tile + tiling.offsets[l - 1], lanes);
    }
  });
  return ffi::Error::Success();
}

// dx from the deltas of the first layer.
ffi::Error InputGradientOfNetwork(ffi::ThreadPool pool, Floats deltas, ffi::RemainingArgs arguments,
                                  ffi::Result<Floats> dx, Span widths, Span packed) {
  const Dimensions stack = BatchOf(dx->dimensions(), 2);
  if (widths.size() < 2 || packed.size() + 1 != widths.size()) {
    return ffi::Error::InvalidArgument("layers need one more width");
  }
  Reader reader(stack);
  const Network first(reader, arguments, 0, Span(widths.begin(), 2), Span(packed.begin(), 1),
                      {true, false, false, true});
  const int64_t batch = dx->dimensions().back();
  const Tiling tiling(widths, 1, widths.size(), batch);
  const auto from = reader.Take<const float>(deltas, "deltas", tiling.Core());
  const auto to = reader.Take<float>(*dx, "dx", {widths[0], batch});
  if (!reader.ok()) return reader.error();

  std::vector<std::vector<Layer>> layers(Count(stack));
  for (size_t n = 0; n < layers.size(); ++n) {
    if (ffi::Error error = first.At(n, &layers[n]); error.failure()) return error;
  }
  const ByColumn by_column(pool, layers, 0);
  const int64_t lanes = tiling.lanes;
  const Path& path = CurrentPath();
  ParallelFor(pool, layers.size() * tiling.count, [&](int64_t task) {
    const int64_t n = task / tiling.count, t = task % tiling.count;
    float* scratch = Scratch(widths[0] * lanes);
    path.backward(layers[n][0], by_column.Of(n, 0), from.At(n) + t * tiling.Stride(), nullptr,
                  scratch, lanes);
    FromTile(scratch, widths[0], batch, t, lanes, to.At(n));
  });
  return ffi::Error::Success();
}

// dW and db of every layer, in turn, from tape and deltas. Some rows of one layer are one task, each
// with the whole batch: a sum's order does not depend on the number of threads.
ffi::Error GradientsOfNetwork(ffi::ThreadPool pool, Floats tape, Floats deltas,
                              ffi::RemainingArgs arguments, ffi::RemainingRets results,
                              Span widths, Span packed, int64_t batch, bool relu_last) {
  const size_t depth = packed.size();
  if (results.size() != 2 * depth || depth == 0) {
    return ffi::Error::InvalidArgument("two results per layer are needed");
  }
  auto first_bias = results.get<Floats>(1);
  if (first_bias.has_error()) return first_bias.error();
  const Dimensions stack = BatchOf((*first_bias)->dimensions(), 1);
  Reader reader(stack);
  const Network network(reader, arguments, 0, widths, packed, {false, false, true, false});
  if (!reader.ok()) return reader.error();
  const Tiling taped(widths, 0, depth + relu_last, batch), tiling(widths, 1, depth + 1, batch);
  const auto values = reader.Take<const float>(tape, "tape", taped.Core());
  const auto from = reader.Take<const float>(deltas, "deltas", tiling.Core());
  std::vector<std::vector<Layer>> layers(Count(stack));
  for (size_t n = 0; n < layers.size(); ++n) {
    if (ffi::Error error = network.At(n, &layers[n]); error.failure()) return error;
  }
  std::vector<Stack<float>> weights(depth), biases(depth);
  for (size_t l = 0; l < depth && reader.ok(); ++l) {
    auto weight = results.get<Floats>(2 * l), bias = results.get<Floats>(2 * l + 1);
    if (weight.has_error()) return weight.error();
    if (bias.has_error()) return bias.error();
    std::vector<int64_t> core{widths[l + 1], widths[l]};
    if (packed[l]) core = {layers.empty() ? 0 : layers[0][l].kept};
    weights[l] = reader.Take<float>(**weight, "dweight", core);
    biases[l] = reader.Take<float>(**bias, "dbias", {widths[l + 1]});
  }
  if (!reader.ok()) return reader.error();

  struct Rows {
    int64_t network;
    size_t layer;
    int64_t first, end;
  };
  // About as much work in each task, and enough of them for the threads to end together.
  constexpr int64_t kProductsAtOnce = 1 << 18;
  std::vector<Rows> tasks;
  for (size_t n = 0; n < layers.size(); ++n) {
    for (size_t l = 0; l < depth; ++l) {
      const Layer& layer = layers[n][l];
      const int64_t row = (layer.packed() ? layer.kept / std::max<int64_t>(layer.outputs, 1)
                                          : layer.inputs) * std::max<int64_t>(batch, 1) + 1;
      const int64_t rows = std::max<int64_t>(32, kProductsAtOnce / row / 4 * 4);
      for (int64_t r = 0; r < layer.outputs; r += rows) {
        tasks.push_back({static_cast<int64_t>(n), l, r, std::min(r + rows, layer.outputs)});
      }
    }
  }
  const Path& path = CurrentPath();
  ParallelFor(pool, tasks.size(), [&](int64_t task) {
    const auto [n, l, first, end] = tasks[task];
    path.gradient(layers[n][l], first, end, taped.Of(l, values.At(n)), tiling.Of(l, from.At(n)),
                  weights[l].At(n), biases[l].At(n));
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* Infer(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, InferNetwork,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .RemainingArgs()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("packed")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

XLA_FFI_Error* Forward(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, ForwardNetwork,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .RemainingArgs()
                             .Ret<Floats>()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("packed")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

XLA_FFI_Error* Deltas(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, DeltasOfNetwork,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .RemainingArgs()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("packed")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

XLA_FFI_Error* InputGradient(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, InputGradientOfNetwork,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .RemainingArgs()
                             .Ret<Floats>()
                             .Attr<Span>("widths")
                             .Attr<Span>("packed"));
  return handler(call_frame);
}

XLA_FFI_Error* Gradients(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, GradientsOfNetwork,
                         ffi::Ffi::Bind()
                             .Ctx<ffi::ThreadPool>()
                             .Arg<Floats>()
                             .Arg<Floats>()
                             .RemainingArgs()
                             .RemainingRets()
                             .Attr<Span>("widths")
                             .Attr<Span>("packed")
                             .Attr<int64_t>("batch")
                             .Attr<bool>("relu_last"));
  return handler(call_frame);
}

}  // namespace sparl
