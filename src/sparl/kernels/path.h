// The kernels themselves, once per instruction set: each path_*.cpp defines SPARL_PATH (a name) and
// SPARL_VECTOR (floats in a register) and is compiled with flags of its own.
//
// No standard library here: an inline function of it compiled for a wide processor could be the one
// copy that the linker keeps, and a narrow processor would then run it.

#include "layer.h"

namespace sparl {
namespace {

constexpr int64_t kVector = SPARL_VECTOR;
// Loads need no alignment: what XLA hands over is aligned to a cache line, and costs the same.
typedef float Vector __attribute__((vector_size(4 * SPARL_VECTOR), aligned(4), may_alias));

inline Vector Load(const float* at) { return *reinterpret_cast<const Vector*>(at); }
inline void Store(float* at, Vector value) { *reinterpret_cast<Vector*>(at) = value; }

// Registers that hold partial sums; half of the sixteen or more that there are, at the least.
constexpr int kSums = SPARL_VECTOR >= 16 ? 16 : 8;

// Lanes that one pass over a packed row holds in registers, as vectors.
template <int64_t kTile>
constexpr int Pass() {
  return kTile / kVector < kSums / 2 ? kTile / kVector : kSums / 2;
}

// Sums of the lanes of kSums vectors. The order of addition is fixed, so results are, too.
inline float Sum(Vector value) {
  float lanes[kVector];
  Store(lanes, value);
  for (int64_t half = kVector / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
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
                    const int32_t* row_starts, const float* x, float* y, Finish finish) {
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
        Store(y + r * kTile + at, finish(even[v] + odd[v], r, kTile, at));
      }
    }
  }
}

// The same for kRows rows of a dense matrix, W[r, k] being values[r * row_step + k * column_step].
template <int64_t kTile, int kRows, typename Finish>
void MultiplyDenseRows(int64_t r, int64_t columns, const float* values, int64_t row_step,
                       int64_t column_step, const float* x, float* y, Finish finish) {
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
        Store(y + (r + i) * kTile + at, finish(sums[i][v], r + i, kTile, at));
      }
    }
  }
}

template <int64_t kTile, typename Finish>
void MultiplyDense(int64_t rows, int64_t columns, const float* values, int64_t row_step,
                   int64_t column_step, const float* x, float* y, Finish finish) {
  constexpr int kRows = kSums / 2;
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    MultiplyDenseRows<kTile, kRows>(r, columns, values, row_step, column_step, x, y, finish);
  }
  for (; r < rows; ++r) {
    MultiplyDenseRows<kTile, 1>(r, columns, values, row_step, column_step, x, y, finish);
  }
}

template <int64_t kTile>
void Forward(const Layer& layer, const float* x, float* y, bool relu) {
  const BiasAndRelu finish{layer.bias, relu};
  if (layer.packed()) {
    MultiplyPacked<kTile>(layer.outputs, layer.weight, layer.columns, layer.row_starts, x, y,
                          finish);
  } else {
    MultiplyDense<kTile>(layer.outputs, layer.inputs, layer.weight, layer.inputs, 1, x, y, finish);
  }
}

template <int64_t kTile>
void Backward(const Layer& layer, const float* by_column, const float* dy, const float* active,
              float* dx) {
  const WhereActive finish{active};
  if (layer.packed()) {
    MultiplyPacked<kTile>(layer.inputs, by_column, layer.rows, layer.column_starts, dy, dx, finish);
  } else {
    MultiplyDense<kTile>(layer.inputs, layer.outputs, layer.weight, 1, layer.inputs, dy, dx,
                         finish);
  }
}

// dot[i][j] = dy[row + i] . x[columns[j]] over the whole batch, for kRows x kColumns at once.
template <int kRows, int kColumns, typename ColumnOf>
void Dots(int64_t row, ColumnOf column, Tiles x, Tiles dy, float* dot, int64_t row_step) {
  Vector sums[kRows][kColumns] = {};
  int64_t offset[kColumns];
  for (int j = 0; j < kColumns; ++j) offset[j] = column(j) * x.lanes;
  for (int64_t t = 0; t < x.count; ++t) {
    const float* left = dy.data + t * dy.stride + row * dy.lanes;
    const float* right = x.data + t * x.stride;
    for (int64_t lane = 0; lane < x.lanes; lane += kVector) {
      for (int i = 0; i < kRows; ++i) {
        const Vector factor = Load(left + i * dy.lanes + lane);
        for (int j = 0; j < kColumns; ++j) sums[i][j] += factor * Load(right + offset[j] + lane);
      }
    }
  }
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kColumns; ++j) dot[i * row_step + j] = Sum(sums[i][j]);
  }
}

float SumOverBatch(int64_t row, Tiles dy) {
  Vector sum = {};
  for (int64_t t = 0; t < dy.count; ++t) {
    const float* at = dy.data + t * dy.stride + row * dy.lanes;
    for (int64_t lane = 0; lane < dy.lanes; lane += kVector) sum += Load(at + lane);
  }
  return Sum(sum);
}

void GradientPacked(const Layer& layer, int64_t r, Tiles x, Tiles dy, float* dweight) {
  constexpr int kColumns = 8;
  int32_t k = layer.row_starts[r];
  const int32_t end = layer.row_starts[r + 1];
  for (; k + kColumns <= end; k += kColumns) {
    Dots<1, kColumns>(r, [&](int j) { return layer.columns[k + j]; }, x, dy, dweight + k, 0);
  }
  for (; k < end; ++k) {
    Dots<1, 1>(r, [&](int) { return layer.columns[k]; }, x, dy, dweight + k, 0);
  }
}

template <int kRows>
void GradientDenseRows(const Layer& layer, int64_t r, Tiles x, Tiles dy, float* dweight) {
  constexpr int kColumns = kSums / 4;
  float* to = dweight + r * layer.inputs;
  int64_t c = 0;
  for (; c + kColumns <= layer.inputs; c += kColumns) {
    Dots<kRows, kColumns>(r, [&](int j) { return c + j; }, x, dy, to + c, layer.inputs);
  }
  for (; c < layer.inputs; ++c) {
    Dots<kRows, 1>(r, [&](int) { return c; }, x, dy, to + c, layer.inputs);
  }
}

void Gradient(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy, float* dweight,
              float* dbias) {
  for (int64_t r = first; r < end; ++r) dbias[r] = SumOverBatch(r, dy);
  if (layer.packed()) {
    for (int64_t r = first; r < end; ++r) GradientPacked(layer, r, x, dy, dweight);
    return;
  }
  int64_t r = first;
  for (; r + 4 <= end; r += 4) GradientDenseRows<4>(layer, r, x, dy, dweight);
  for (; r < end; ++r) GradientDenseRows<1>(layer, r, x, dy, dweight);
}

void ForwardTile(const Layer& layer, const float* x, float* y, int64_t lanes, bool relu) {
  lanes == kLanes ? Forward<kLanes>(layer, x, y, relu) : Forward<kFewLanes>(layer, x, y, relu);
}

void BackwardTile(const Layer& layer, const float* by_column, const float* dy, const float* active,
                  float* dx, int64_t lanes) {
  lanes == kLanes ? Backward<kLanes>(layer, by_column, dy, active, dx)
                  : Backward<kFewLanes>(layer, by_column, dy, active, dx);
}

}  // namespace

extern const Path SPARL_PATH;
const Path SPARL_PATH = {SPARL_PATH_NAME, ForwardTile, BackwardTile, Gradient};

}  // namespace sparl
