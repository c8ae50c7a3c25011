// Products and gradients of packed rows of which some neighbours keep the same columns (layer.h),
// as part of path.h. What is loaded of a column serves all rows of a group, whose sums are held in
// registers side by side.
#pragma once

#include "gradients.h"
#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

// Rows whose sums, or deltas, are held in registers at once: a number for the compiler.
template <int kCount>
struct RowsAtOnce {
  static constexpr int count = kCount;
};
constexpr int kMostRows = kSums / 2;

// Calls visit(row, RowsAtOnce) for the rows from `row` to `end`, as many at once as there are, in
// powers of two up to kMost.
template <int kMost = kMostRows, typename Visit>
inline void ForRowsAtOnce(int64_t row, int64_t end, const Visit& visit) {
  for (; row + kMost <= end; row += kMost) visit(row, RowsAtOnce<kMost>());
  if constexpr (kMost > 1) {
    if (row < end) ForRowsAtOnce<kMost / 2>(row, end, visit);
  }
}

// Calls visit(row, RowsAtOnce, columns) for all rows of a layer, group after group.
template <typename Visit>
inline void ForEachGroup(const Layer& layer, const Visit& visit) {
  for (int64_t g = 0; g < layer.block_rows(); ++g) {
    const int32_t* const columns = layer.columns + g * layer.per_group();
    ForRowsAtOnce(layer.RowOf(g), layer.RowOf(g + 1),
                  [&](int64_t row, auto rows) { visit(row, rows, columns); });
  }
}

// Vectors of lanes that one pass holds for each row.
template <int64_t kTile>
constexpr int kSharedPass = kTile / kVector < 2 ? 1 : 2;

// y[row + i] = finish(sum over k of values[i * kept + k] * x[columns[k]]).
template <int64_t kTile, int kRows, typename Finish>
void MultiplySharedRows(int64_t row, int64_t kept, const float* values, const int32_t* columns,
                        const float* x, float* y, int64_t step, Finish finish) {
  constexpr int kPass = kSharedPass<kTile>;
  // For few rows several sets of sums, because with one each multiply-add would wait for the
  // previous one.
  constexpr int kSets = kRows * kPass < kSums / 2 ? kSums / 2 / (kRows * kPass) : 1;
  for (int64_t lane = 0; lane < kTile; lane += kPass * kVector) {
    Vector sums[kSets][kRows][kPass] = {};
    const auto add = [&](int64_t k, int set) {
      const float* const at = x + columns[k] * kTile + lane;
      Vector loaded[kPass];
      for (int v = 0; v < kPass; ++v) loaded[v] = Load(at + v * kVector);
      for (int i = 0; i < kRows; ++i) {
        const float weight = values[i * kept + k];
        for (int v = 0; v < kPass; ++v) sums[set][i][v] += weight * loaded[v];
      }
    };
    int64_t k = 0;
    for (; k + kSets <= kept; k += kSets) {
      for (int set = 0; set < kSets; ++set) add(k + set, set);
    }
    for (; k < kept; ++k) add(k, 0);
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kPass; ++v) {
        Vector sum = sums[0][i][v];
        for (int set = 1; set < kSets; ++set) sum += sums[set][i][v];
        const int64_t at = lane + v * kVector;
        Store(y + (row + i) * step + at, finish(sum, row + i, kTile, at));
      }
    }
  }
}

template <int64_t kTile, typename Finish>
void MultiplyShared(const Layer& layer, const float* x, float* y, int64_t step, Finish finish) {
  const int64_t kept = layer.per_group();
  ForEachGroup(layer, [&](int64_t row, auto rows, const int32_t* columns) {
    MultiplySharedRows<kTile, rows.count>(row, kept, layer.weight + row * kept, columns, x, y, step,
                                          finish);
  });
}

// dx[columns[k]] += sum over i of values[i * kept + k] * dy[row + i].
template <int64_t kTile, int kRows>
void AddSharedRows(int64_t row, int64_t kept, const float* values, const int32_t* columns,
                   const float* dy, float* dx, int64_t step) {
  constexpr int kPass = kSharedPass<kTile>;
  for (int64_t lane = 0; lane < kTile; lane += kPass * kVector) {
    Vector deltas[kRows][kPass];
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kPass; ++v) {
        deltas[i][v] = Load(dy + (row + i) * kTile + lane + v * kVector);
      }
    }
    for (int64_t k = 0; k < kept; ++k) {
      float* const to = dx + columns[k] * step + lane;
      Vector sums[kPass];
      for (int v = 0; v < kPass; ++v) sums[v] = Load(to + v * kVector);
      for (int i = 0; i < kRows; ++i) {
        const float weight = values[i * kept + k];
        for (int v = 0; v < kPass; ++v) sums[v] += weight * deltas[i][v];
      }
      for (int v = 0; v < kPass; ++v) Store(to + v * kVector, sums[v]);
    }
  }
}

// dx = finish(W^T dy). By rows and not by columns as for other packed rows: the deltas of a group
// stay in registers while its columns pass.
template <int64_t kTile, typename Finish>
void MultiplySharedBack(const Layer& layer, const float* dy, float* dx, int64_t step,
                        Finish finish) {
  for (int64_t c = 0; c < layer.inputs; ++c) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) Store(dx + c * step + lane, Vector{});
  }
  const int64_t kept = layer.per_group();
  ForEachGroup(layer, [&](int64_t row, auto rows, const int32_t* columns) {
    AddSharedRows<kTile, rows.count>(row, kept, layer.weight + row * kept, columns, dy, dx, step);
  });
  for (int64_t c = 0; c < layer.inputs; ++c) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      float* const at = dx + c * step + lane;
      Store(at, finish(Load(at), c, kTile, lane));
    }
  }
}

// The gradients of the weights of all rows of the groups first..end.
template <int64_t kTile>
void GradientShared(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                    float* dweight) {
  constexpr int kRows = 4, kColumns = kSums / kRows;
  const int64_t kept = layer.per_group();
  const auto visit = [&](int64_t g, int64_t k, int64_t run_end, const Tiles& some_x,
                         const Tiles& some_dy, auto adds) {
    const auto column = [&](int j) { return layer.columns[k + j]; };
    const auto dots = [&](auto columns) {
      ForRowsAtOnce<kRows>(layer.RowOf(g), layer.RowOf(g + 1), [&](int64_t row, auto rows) {
        float* const to = dweight + row * kept + k - g * kept;
        Dots<kTile, rows.count, columns.count>(row, column, some_x, some_dy, to, kept, adds.value);
      });
    };
    for (; k + kColumns <= run_end; k += kColumns) dots(RowsAtOnce<kColumns>());
    for (; k < run_end; ++k) dots(RowsAtOnce<1>());
  };
  ForEachRun<kTile, 16, 32768>(layer, first, end, x, dy, visit);
}

}  // namespace
}  // namespace sparl
