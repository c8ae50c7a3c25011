// The kernels themselves, once per instruction set: each path_*.cpp defines SPARL_PATH (a name) and
// SPARL_VECTOR (floats in a register) and is compiled with flags of its own.
//
// No function of the standard library here: an inline one compiled for a wide processor could be the
// one copy that the linker keeps, and a narrow processor would then run it.

#include "circulant.h"
#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

// Lanes that one pass over a packed row holds in registers, as vectors.
template <int64_t kTile>
constexpr int Pass() {
  return kTile / kVector < kSums / 2 ? kTile / kVector : kSums / 2;
}

inline Vector Positive(Vector value) { return value > 0 ? value : Vector{}; }

// What becomes of a sum on its way to memory.
struct BiasAndRelu {
  const float* bias;
  bool relu;
  Vector operator()(Vector sum, int64_t row, int64_t, int64_t) const {
    sum += bias[row];
    return relu ? Positive(sum) : sum;
  }
};
struct WhereActive {
  const float* active;
  Vector operator()(Vector sum, int64_t row, int64_t tile, int64_t lane) const {
    if (!active) return sum;
    return Load(active + row * tile + lane) > 0 ? sum : Vector{};
  }
};

// y[r] = finish(sum over k in row r of values[k] * x[columns[k]]).
template <int64_t kTile, typename Finish>
void MultiplyPacked(int64_t rows, const float* values, const int32_t* columns,
                    const int32_t* row_starts, const float* x, float* y, int64_t step,
                    Finish finish) {
  constexpr int kPass = Pass<kTile>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t lane = 0; lane < kTile; lane += kPass * kVector) {
      // Two sets of sums: one would wait for each multiply-add to end before the next.
      Vector even[kPass] = {}, odd[kPass] = {};
      int32_t k = row_starts[r];
      const int32_t end = row_starts[r + 1];
      for (; k + 1 < end; k += 2) {
        const float* a = x + columns[k] * kTile + lane;
        const float* b = x + columns[k + 1] * kTile + lane;
        for (int v = 0; v < kPass; ++v) even[v] += values[k] * Load(a + v * kVector);
        for (int v = 0; v < kPass; ++v) odd[v] += values[k + 1] * Load(b + v * kVector);
      }
      if (k < end) {
        const float* a = x + columns[k] * kTile + lane;
        for (int v = 0; v < kPass; ++v) even[v] += values[k] * Load(a + v * kVector);
      }
      for (int v = 0; v < kPass; ++v) {
        const int64_t at = lane + v * kVector;
        Store(y + r * step + at, finish(even[v] + odd[v], r, kTile, at));
      }
    }
  }
}

// The same for kRows rows of a dense matrix, W[r, k] being values[r * row_step + k * column_step].
template <int64_t kTile, int kRows, typename Finish>
void MultiplyDenseRows(int64_t r, int64_t columns, const float* values, int64_t row_step,
                       int64_t column_step, const float* x, float* y, int64_t step, Finish finish) {
  constexpr int kPass = kTile / kVector < 2 ? 1 : 2;
  for (int64_t lane = 0; lane < kTile; lane += kPass * kVector) {
    Vector sums[kRows][kPass] = {};
    for (int64_t k = 0; k < columns; ++k) {
      const float* at = x + k * kTile + lane;
      const float* w = values + r * row_step + k * column_step;
      Vector loaded[kPass];
      for (int v = 0; v < kPass; ++v) loaded[v] = Load(at + v * kVector);
      for (int i = 0; i < kRows; ++i) {
        for (int v = 0; v < kPass; ++v) sums[i][v] += w[i * row_step] * loaded[v];
      }
    }
    for (int i = 0; i < kRows; ++i) {
      for (int v = 0; v < kPass; ++v) {
        const int64_t at = lane + v * kVector;
        Store(y + (r + i) * step + at, finish(sums[i][v], r + i, kTile, at));
      }
    }
  }
}

template <int64_t kTile, typename Finish>
void MultiplyDense(int64_t rows, int64_t columns, const float* values, int64_t row_step,
                   int64_t column_step, const float* x, float* y, int64_t step, Finish finish) {
  constexpr int kRows = kSums / 2;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    MultiplyDenseRows<kTile, kRows>(r, columns, values, row_step, column_step, x, y, step, finish);
  }
  for (; r < rows; ++r) {
    MultiplyDenseRows<kTile, 1>(r, columns, values, row_step, column_step, x, y, step, finish);
  }
}

template <int64_t kTile>
void Forward(const Layer& layer, const float* x, float* y, int64_t step, bool relu) {
  const BiasAndRelu finish{layer.bias, relu};
  if (layer.circulant()) {
    WithGroup(layer.group, [&](auto group) {
      MultiplyCirculant<kTile, group.size>(layer.outputs, layer.by_row, layer.columns,
                                           layer.row_starts, x, y, step, finish);
    });
  } else if (layer.packed()) {
    MultiplyPacked<kTile>(layer.outputs, layer.weight, layer.columns, layer.row_starts, x, y,
                          step, finish);
  } else {
    MultiplyDense<kTile>(layer.outputs, layer.inputs, layer.weight, layer.inputs, 1, x, y, step,
                         finish);
  }
}

template <int64_t kTile>
void Backward(const Layer& layer, const float* dy, const float* active, float* dx, int64_t step) {
  const WhereActive finish{active};
  if (layer.circulant()) {
    WithGroup(layer.group, [&](auto group) {
      MultiplyCirculant<kTile, group.size>(layer.inputs, layer.by_column, layer.rows,
                                           layer.column_starts, dy, dx, step, finish);
    });
  } else if (layer.packed()) {
    MultiplyPacked<kTile>(layer.inputs, layer.by_column, layer.rows, layer.column_starts, dy, dx,
                          step, finish);
  } else {
    MultiplyDense<kTile>(layer.inputs, layer.outputs, layer.weight, 1, layer.inputs, dy, dx, step,
                         finish);
  }
}

// dot[i][j] = dy[row + i] . x[column(j)] over all tiles, for kRows x kColumns at once; added to what
// is there already if `add`.
template <int64_t kTile, int kRows, int kColumns, typename ColumnOf>
void Dots(int64_t row, ColumnOf column, Tiles x, Tiles dy, float* dot, int64_t row_step,
          bool add = false) {
  Vector sums[kRows][kColumns] = {};
  const float* right[kColumns];
  for (int j = 0; j < kColumns; ++j) right[j] = x.data + column(j) * kTile;
  const float* left = dy.data + row * kTile;
  for (int64_t t = 0; t < x.count; ++t) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      for (int i = 0; i < kRows; ++i) {
        const Vector factor = Load(left + i * kTile + lane);
        for (int j = 0; j < kColumns; ++j) sums[i][j] += factor * Load(right[j] + lane);
      }
    }
    for (int j = 0; j < kColumns; ++j) right[j] += x.stride;
    left += dy.stride;
  }
  for (int i = 0; i < kRows; ++i) TotalInto<kColumns>(sums[i], dot + i * row_step, add);
}

template <int64_t kTile>
float SumOverBatch(int64_t row, Tiles dy) {
  Vector sum = {};
  for (int64_t t = 0; t < dy.count; ++t) {
    const float* at = dy.data + t * dy.stride + row * kTile;
    for (int64_t lane = 0; lane < kTile; lane += kVector) sum += Load(at + lane);
  }
  float total;
  TotalInto<1>(&sum, &total, false);
  return total;
}

// Values k to end of row r, which are fewer than eight. Not in line with those that go by eight:
// there all pointers stay in registers, which is a tenth of the time.
template <int64_t kTile>
__attribute__((noinline)) void GradientOfRest(const Layer& layer, int64_t r, int32_t k, int32_t end,
                                              Tiles x, Tiles dy, float* dweight, bool add) {
  const auto column = [&](int j) { return layer.columns[k + j]; };
  for (; k + 4 <= end; k += 4) Dots<kTile, 1, 4>(r, column, x, dy, dweight + k, 0, add);
  for (; k < end; ++k) Dots<kTile, 1, 1>(r, column, x, dy, dweight + k, 0, add);
}

// A row meets inputs from all over x, more than the nearest cache holds. So some tiles are taken at
// a time, and of them some columns, as many as have kValues values in a row on average, and for
// those all rows: enough for each to make up for adding up lanes. Calls visit(row, k, end, x, dy, add)
// for the values k to end of a row and some tiles; the first tiles do not `add`.
template <int64_t kTile, int64_t kValues, int64_t kTiles, typename Visit>
void ForEachRun(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, Visit visit) {
  constexpr int64_t kRows = 64;
  if (layer.kept == 0) return;
  const int64_t columns = layer.block_columns();
  const int64_t width = kValues * layer.block_rows() * columns / layer.kept;
  int32_t next[kRows];
  for (int64_t row = first; row < end; row += kRows) {
    const int64_t rows = end - row < kRows ? end - row : kRows;
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

// Of block rows; x and dy in components, of which the gradients are made first.
template <int64_t kTile, int64_t G>
void GradientCirculant(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                       float* dweight, float* dbias) {
  constexpr int kAtOnce = kSums / G > 1 ? kSums / G : 1;
  ForEachRun<kTile, 16, 4>(layer, first, end, x, dy, [&](int64_t row, int64_t k, int64_t run_end,
                                                      Tiles some_x, Tiles some_dy, bool add) {
    const int32_t* columns = layer.columns;
    for (; k + kAtOnce <= run_end; k += kAtOnce) {
      DotsOfBlocks<kTile, G, kAtOnce>(row, columns + k, some_x, some_dy, dweight + k * G, add);
    }
    for (; k < run_end; ++k) {
      DotsOfBlocks<kTile, G, 1>(row, columns + k, some_x, some_dy, dweight + k * G, add);
    }
  });
  const auto back = [](float* components) { Scale<G>(components), Synthesise<G>(components); };
  for (int64_t k = layer.row_starts[first]; k < layer.row_starts[end]; ++k) back(dweight + k * G);
  for (int64_t row = first; row < end; ++row) {
    float sums[G];
    for (int64_t m = 0; m < G; ++m) sums[m] = SumOverBatch<kTile>(row * G + m, dy);
    back(sums);
    for (int64_t t = 0; t < G && row * G + t < layer.outputs; ++t) dbias[row * G + t] = sums[t];
  }
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

template <int64_t kTile>
void Gradient(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, float* dweight,
              float* dbias) {
  if (layer.circulant()) {
    return WithGroup(layer.group, [&](auto group) {
      GradientCirculant<kTile, group.size>(layer, first, end, x, dy, dweight, dbias);
    });
  }
  for (int64_t r = first; r < end; ++r) dbias[r] = SumOverBatch<kTile>(r, dy);
  int64_t r = first;
  if (layer.packed()) {
    GradientPacked<kTile>(layer, first, end, x, dy, dweight);
  } else {
    for (; r + 4 <= end; r += 4) GradientDenseRows<kTile, 4>(layer, r, x, dy, dweight);
    for (; r < end; ++r) GradientDenseRows<kTile, 1>(layer, r, x, dy, dweight);
  }
}

void GradientRows(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                  float* dweight, float* dbias) {
  x.lanes == kLanes ? Gradient<kLanes>(layer, first, end, x, dy, dweight, dbias)
                    : Gradient<kFewLanes>(layer, first, end, x, dy, dweight, dbias);
}

void ForwardTile(const Layer& layer, const float* x, float* y, int64_t step, int64_t lanes,
                 bool relu) {
  lanes == kLanes ? Forward<kLanes>(layer, x, y, step, relu)
                  : Forward<kFewLanes>(layer, x, y, step, relu);
}

void BackwardTile(const Layer& layer, const float* dy, const float* active, float* dx, int64_t step,
                  int64_t lanes) {
  lanes == kLanes ? Backward<kLanes>(layer, dy, active, dx, step)
                  : Backward<kFewLanes>(layer, dy, active, dx, step);
}

void AnalyseTile(int64_t group, int64_t features, const float* x, float* to, int64_t lanes) {
  WithGroup(group, [&](auto size) {
    lanes == kLanes ? AnalyseBlocks<kLanes, size.size>(features, x, to)
                    : AnalyseBlocks<kFewLanes, size.size>(features, x, to);
  });
}

}  // namespace

extern const Path SPARL_PATH;
const Path SPARL_PATH = {SPARL_PATH_NAME, AnalyseTile, ForwardTile, BackwardTile, GradientRows};

}  // namespace sparl
