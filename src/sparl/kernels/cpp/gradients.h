// Gradients of dense and packed weights, as part of path.h, and the order in which packed weights
// are visited.
#pragma once

#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

// dot[i][j] = dy[row + i] . x[column(j)], summed over all tiles, for kRows x kColumns at once.
// Added to what is there already if `add`.
template <int64_t kTile, int kRows, int kColumns, typename ColumnOf>
void Dots(int64_t row, ColumnOf column, Tiles x, Tiles dy, float* dot, int64_t row_step,
          bool add = false) {
  Vector sums[kRows * kColumns] = {};
  const float* right[kColumns];
  for (int j = 0; j < kColumns; ++j) right[j] = x.data + column(j) * kTile;
  const float* left = dy.data + row * kTile;
  for (int64_t t = 0; t < x.count; ++t) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      for (int i = 0; i < kRows; ++i) {
        const Vector factor = Load(left + i * kTile + lane);
        for (int j = 0; j < kColumns; ++j) {
          sums[i * kColumns + j] += factor * Load(right[j] + lane);
        }
      }
    }
    for (int j = 0; j < kColumns; ++j) right[j] += x.stride;
    left += dy.stride;
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

// The values k to end of row r, fewer than eight. Not inlined into the code that takes eight at a
// time: there all pointers then stay in registers, which saves a tenth of the time.
template <int64_t kTile>
__attribute__((noinline)) void GradientOfRest(const Layer& layer, int64_t r, int32_t k, int32_t end,
                                              Tiles x, Tiles dy, float* dweight, bool add) {
  const auto column = [&](int j) { return layer.columns[k + j]; };
  for (; k + 4 <= end; k += 4) Dots<kTile, 1, 4>(r, column, x, dy, dweight + k, 0, add);
  for (; k < end; ++k) Dots<kTile, 1, 1>(r, column, x, dy, dweight + k, 0, add);
}

// Calls visit(row, k, end, x, dy, add) for the values k to end of a row and for some tiles; `add`
// is false for the first tiles. A row meets inputs from all over x, more than the nearest cache
// holds. So only some tiles are taken at a time, and of them only some columns, with all rows.
// There are as many columns as a row has kValues values in on average, which makes up for adding up
// the lanes.
template <int64_t kTile, int64_t kValues, int64_t kTiles, typename Visit>
void ForEachRun(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, Visit visit) {
  constexpr int64_t kRows = 64;
  const int64_t at_once = kRows / layer.share;
  if (layer.kept == 0) return;
  const int64_t columns = layer.block_columns();
  const int64_t even = kValues * layer.block_rows() * columns / layer.kept;
  const int64_t width = even > 0 ? even : 1;  // `even` is 0 if rows name columns many times
  int32_t next[kRows];
  for (int64_t row = first; row < end; row += at_once) {
    const int64_t rows = end - row < at_once ? end - row : at_once;
    for (int64_t t = 0; t == 0 || t < x.count; t += kTiles) {  // zeros for an empty batch
      const int64_t tiles = x.count - t < kTiles ? x.count - t : kTiles;
      const Tiles some_x{x.data + t * x.stride, x.stride, tiles, kTile};
      const Tiles some_dy{dy.data + t * dy.stride, dy.stride, tiles, kTile};
      for (int64_t r = 0; r < rows; ++r) next[r] = layer.row_starts[row + r];
      for (int64_t c = width; c < columns + width; c += width) {
        for (int64_t r = 0; r < rows; ++r) {
          const int32_t row_end = layer.row_starts[row + r + 1], k = next[r];
          while (next[r] < row_end && layer.columns[next[r]] < c) ++next[r];
          if (k < next[r]) visit(row + r, k, next[r], some_x, some_dy, t > 0);
        }
      }
    }
  }
}

template <int64_t kTile>
void GradientPacked(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                    float* dweight) {
  ForEachRun<kTile, 16, 8>(layer, first, end, x, dy, [&](int64_t row, int32_t k, int32_t run_end,
                                                      Tiles some_x, Tiles some_dy, bool add) {
    const auto column = [&](int j) { return layer.columns[k + j]; };
    for (; k + 8 <= run_end; k += 8) {
      Dots<kTile, 1, 8>(row, column, some_x, some_dy, dweight + k, 0, add);
    }
    if (k < run_end) GradientOfRest<kTile>(layer, row, k, run_end, some_x, some_dy, dweight, add);
  });
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
