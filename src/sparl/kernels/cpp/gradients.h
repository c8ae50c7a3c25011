// Gradients of dense and packed weights, as part of path.h, and the order in which packed weights
// are visited.
#pragma once

#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

// dot[i][j] = dy[row + i] . x[column(j)], summed over all tiles, for kRows x kColumns at once.
// Added to what is there already if `add`. Always inlined: as a call of its own it costs half as
// much again for the few tiles that are taken at a time.
template <int64_t kTile, int kRows, int kColumns, typename ColumnOf>
__attribute__((always_inline)) inline void Dots(int64_t row, ColumnOf column, const Tiles& x,
                                                const Tiles& dy, float* dot, int64_t row_step,
                                                bool add = false) {
  Vector sums[kRows * kColumns] = {};
  const float* right[kColumns];
  for (int j = 0; j < kColumns; ++j) right[j] = x.data + column(j) * kTile;
  const float* left = dy.data + row * kTile;
  const int64_t count = x.count, x_step = x.stride, dy_step = dy.stride;
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      for (int i = 0; i < kRows; ++i) {
        const Vector factor = Load(left + i * kTile + lane);
        for (int j = 0; j < kColumns; ++j) {
          sums[i * kColumns + j] += factor * Load(right[j] + lane);
        }
      }
    }
    for (int j = 0; j < kColumns; ++j) right[j] += x_step;
    left += dy_step;
  }
  TotalInto<kRows, kColumns>(sums, dot, row_step, add);
}

template <int64_t kTile>
float SumOverBatch(int64_t row, Tiles dy) {
  Vector sum = {};
  for (int64_t t = 0; t < dy.count; ++t) {
    const float* at = dy.data + t * dy.stride + row * kTile;
    for (int64_t lane = 0; lane < kTile; lane += kVector) sum += Load(at + lane);
  }
  float total;
  TotalInto<1, 1>(&sum, &total, 0, false);
  return total;
}

// Whether what is computed is added to what is there, known while compiling.
template <bool kValue>
struct Adds {
  static constexpr bool value = kValue;
};

// Calls visit(row, k, end, x, dy, adds) for the values k to end of each row, part after part: the
// first part of all rows, then the second one.
template <int64_t kValues, typename Visit, typename Adding>
void ForEachPart(const int32_t* row_starts, int64_t parts, int64_t first, int64_t end, Tiles x,
                 Tiles dy, Visit visit, Adding adds) {
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t row = first; row < end; ++row) {
      const int64_t start = row_starts[row], row_end = row_starts[row + 1];
      // In pieces of kValues, of which the last one may be cut short.
      const int64_t pieces = (row_end - start + kValues - 1) / kValues;
      const bool usual = pieces == parts;
      const int64_t from = usual ? part : pieces * part / parts;
      const int64_t to = usual ? part + 1 : pieces * (part + 1) / parts;
      const int64_t k = start + from * kValues, last = start + to * kValues;
      if (from < to) visit(row, k, last < row_end ? last : row_end, x, dy, adds);
    }
  }
}

// Calls visit(row, k, end, x, dy, adds) for all values of the rows, with some tiles at a time; what
// comes of the first tiles is not added. A row meets inputs from all over x, more than the nearest
// cache holds. So all rows take one part of their values, kValues on average, before they take the
// next: rows are about as long as each other, and their columns rise, so that the same part of each
// lies in about the same columns. Of these as many tiles are taken at a time as have kNear floats,
// but not so few that adding up the lanes would cost more than it saves.
template <int64_t kTile, int64_t kValues, int64_t kNear, typename Visit>
void ForEachRun(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, Visit visit) {
  constexpr int64_t kFewest = 4;
  if (layer.kept == 0) return;
  const int64_t even = kValues * layer.block_rows();
  const int64_t parts = (layer.kept + even - 1) / even;
  const int64_t fit = kNear * parts / (layer.whole_inputs() * kTile);
  const int64_t at_once = fit > kFewest ? fit : kFewest;
  const int64_t all = x.count;
  for (int64_t t = 0; t == 0 || t < all; t += at_once) {  // zeros for an empty batch
    x.count = dy.count = all - t < at_once ? all - t : at_once;
    if (t == 0) {
      ForEachPart<kValues>(layer.row_starts, parts, first, end, x, dy, visit, Adds<false>());
    } else {
      ForEachPart<kValues>(layer.row_starts, parts, first, end, x, dy, visit, Adds<true>());
    }
    x.data += at_once * x.stride, dy.data += at_once * dy.stride;
  }
}

template <int64_t kTile>
void GradientPacked(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                    float* dweight) {
  constexpr int kAtOnce = 8;
  // Captures by value, because captured references go through memory.
  const auto visit = [columns = layer.columns, dweight](int64_t row, int64_t k, int64_t run_end,
                                                        const Tiles& some_x, const Tiles& some_dy,
                                                        auto adds) {
    const auto dots = [&some_x, &some_dy, row](const int32_t* at, float* to, bool add) {
      const auto column = [at](int j) { return at[j]; };
      Dots<kTile, 1, kAtOnce>(row, column, some_x, some_dy, to, 0, add);
    };
    for (; k + kAtOnce <= run_end; k += kAtOnce) dots(columns + k, dweight + k, adds.value);
    if (k == run_end) return;
    // The last of fewer columns stands for those that are missing. That costs less than to take them
    // one by one, where each multiply-add would wait for the previous one.
    int32_t rest[kAtOnce];
    for (int j = 0; j < kAtOnce; ++j) rest[j] = columns[k + j < run_end ? k + j : run_end - 1];
    float sums[kAtOnce];
    dots(rest, sums, false);
    for (int j = 0; k < run_end; ++j, ++k) {
      dweight[k] = adds.value ? dweight[k] + sums[j] : sums[j];
    }
  };
  ForEachRun<kTile, kAtOnce, 8192>(layer, first, end, x, dy, visit);
}

template <int64_t kTile, int kRows>
void GradientDenseRows(const Layer& layer, int64_t r, Tiles x, Tiles dy, float* dweight) {
  constexpr int kColumns = kSums / 4;
  float* to = dweight + r * layer.inputs;
  int64_t c = 0;
  const auto column = [&](int j) { return c + j; };
  for (; c + kColumns <= layer.inputs; c += kColumns) {
    Dots<kTile, kRows, kColumns>(r, column, x, dy, to + c, layer.inputs);
  }
  for (; c < layer.inputs; ++c) Dots<kTile, kRows, 1>(r, column, x, dy, to + c, layer.inputs);
}

}  // namespace
}  // namespace sparl
