// The kernels themselves, compiled once per instruction set: each path_*.cpp defines SPARL_PATH (a
// name) and SPARL_VECTOR (floats in a register), and is compiled with flags of its own.
//
// Nothing here may use a function of the standard library. The linker keeps only one copy of an
// inline function: if that were one compiled for wide registers, a processor without them would run
// it.

#include "activations.h"
#include "circulant.h"
#include "gradients.h"
#include "layer.h"
#include "norms.h"
#include "shared_rows.h"
#include "vectors.h"

namespace sparl {
namespace {

// How many vectors of lanes one pass over a packed row holds in registers.
template <int64_t kTile>
constexpr int Pass() {
  return kTile / kVector < kSums / 2 ? kTile / kVector : kSums / 2;
}

// What is applied to a sum before it is stored.
struct BiasAndRelu {
  const float* bias;
  bool relu;
  Vector operator()(Vector sum, int64_t row, int64_t, int64_t) const {
    sum += bias[row];
    return relu ? Relu(sum) : sum;
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
      // Two sets of sums, because with one each multiply-add would wait for the previous one.
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

// The same for kRows rows of a dense matrix, where W[r, k] is values[r * row_step + k *
// column_step].
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
  } else if (layer.shared()) {
    MultiplyShared<kTile>(layer, x, y, step, finish);
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
  } else if (layer.shared()) {
    MultiplySharedBack<kTile>(layer, dy, dx, step, finish);
  } else if (layer.packed()) {
    MultiplyPacked<kTile>(layer.inputs, layer.by_column, layer.rows, layer.column_starts, dy, dx,
                          step, finish);
  } else if (layer.by_column) {
    MultiplyDense<kTile>(layer.inputs, layer.outputs, layer.by_column, layer.outputs, 1, dy, dx,
                         step, finish);
  } else {
    MultiplyDense<kTile>(layer.inputs, layer.outputs, layer.weight, 1, layer.inputs, dy, dx, step,
                         finish);
  }
}

template <int64_t kTile>
void Gradient(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, float* dweight,
              float* dbias) {
  if (layer.circulant()) {
    return WithGroup(layer.group, [&](auto group) {
      GradientCirculant<kTile, group.size>(layer, first, end, x, dy, dweight, dbias);
    });
  }
  const int64_t rows_end = layer.RowOf(end);
  for (int64_t r = layer.RowOf(first); dbias && r < rows_end; ++r) {
    dbias[r] = SumOverBatch<kTile>(r, dy);
  }
  int64_t r = first;
  if (layer.shared()) {
    GradientShared<kTile>(layer, first, end, x, dy, dweight);
  } else if (layer.packed()) {
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
const Path SPARL_PATH = {SPARL_PATH_NAME, AnalyseTile, ForwardTile, BackwardTile, Activate, Derive,
                         Scale, TileMoments, NormSums, ThroughNorm, GradientRows};

}  // namespace sparl
