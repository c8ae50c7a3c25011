// One layer of a network as the kernels see it, and the table of the kernels.
//
// Activations are cut along the batch into contiguous tiles, [features][lanes] each. A stored
// weight is broadcast and multiplies `lanes` samples at once, and a tile of a few hundred features
// stays in a core's own cache. (Rows of a [features, batch] matrix often lie a power of two apart
// and would all compete for the same few cache lines.)
#pragma once

#include <cstdint>

namespace sparl {

// What is applied to a layer's sums. Swish is x sigmoid(x).
enum Activation : int64_t { kNone, kRelu, kSwish, kElu, kTanh };

// What a batch norm with known statistics amounts to, for each feature; null without a norm.
struct Affine {
  const float *factor = nullptr, *offset = nullptr;
};

// y = W x + b. W [outputs, inputs] is stored whole, as packed rows, or as packed rows of circulant
// blocks (spectra.h) of `group` rows and columns, of which the last ones may be cut short. For
// blocks, rows, columns and kept values below are those of the grid of blocks.
//
// Packed rows may share their columns, `share` neighbours at a time; the last ones may be fewer.
// Their indices are then those of the grid whose rows are such groups, and all groups keep the same
// number of columns. Their weights are still stored row by row.
struct Layer {
  int64_t outputs = 0, inputs = 0, group = 1, share = 1;
  // Dense: [outputs, inputs]; packed: [kept], or [outputs, per_group] where rows share their
  // columns; blocks: [kept, group].
  const float* weight = nullptr;
  const float* bias = nullptr;    // [outputs]
  // Batch norms, of the sums and of the inputs: gain, shift, mean and variance, one after the other;
  // null without one.
  const float *norm = nullptr, *input_norm = nullptr;
  // Packed rows; null for a dense layer. See packed_rows.h.
  const int32_t* columns = nullptr;
  const int32_t* row_starts = nullptr;
  // The same places column by column: for k from column_starts[c] to column_starts[c + 1], entry k
  // of column c lies in row rows[k], and its value is weight[order[k]].
  const int32_t* rows = nullptr;
  const int32_t* column_starts = nullptr;
  const int32_t* order = nullptr;
  int64_t kept = 0;
  // What the kernels multiply by in place of `weight` (prepared.h). by_row: the spectra of blocks,
  // row by row. by_column: packed values column by column, weights of a dense layer in the same
  // order where that pays, or the spectra of the transposed blocks.
  const float* by_row = nullptr;
  const float* by_column = nullptr;
  // What the norms amount to (batch_norms.h).
  Affine of_sums, of_inputs;

  bool packed() const { return row_starts != nullptr || column_starts != nullptr; }
  bool circulant() const { return group > 1; }
  bool shared() const { return share > 1; }
  int64_t weights() const { return shared() ? outputs * per_group() : kept * group; }
  // Rows of W that a row of the grid stands for.
  int64_t height() const { return group * share; }
  int64_t block_rows() const { return (outputs + height() - 1) / height(); }
  int64_t block_columns() const { return (inputs + group - 1) / group; }
  // The first row of W of a row of the grid.
  int64_t RowOf(int64_t grid_row) const {
    return grid_row < block_rows() ? grid_row * height() : outputs;
  }
  // Columns that each group of rows keeps which share them.
  int64_t per_group() const { return kept / (outputs > 0 ? block_rows() : 1); }
  int64_t whole_outputs() const { return circulant() ? block_rows() * group : outputs; }
  int64_t whole_inputs() const { return block_columns() * group; }
};

// A norm by the statistics of the batch, as its gradients need it, for each feature.
struct Normalised {
  const float *mean, *rate;             // (x - mean) rate is normalised
  const float *factor, *shift, *slope;  // see `through_norm`
};

// Activations of all tiles: tile t of a layer's features begins at data + t * stride.
struct Tiles {
  const float* data;
  int64_t stride;  // floats from one tile to the next
  int64_t count;
  int64_t lanes;
};

// The kernels for one instruction set. `lanes` is always kFewLanes or kLanes. Inputs lie in tiles.
// Results are [features][lanes] with `step` floats from one feature to the next: a tile, or a part
// of a matrix.
struct Path {
  const char* name;

  // Writes the components (spectra.h) of x [features][lanes], group by group of features, to `to`.
  // Layers of circulant blocks take x and dy in components. `to` has room for whole groups and may
  // be x.
  void (*analyse)(int64_t group, int64_t features, const float* x, float* to, int64_t lanes);

  // y = W x + b, and max(y, 0) if `relu`; x [inputs][lanes], y [outputs][lanes].
  void (*forward)(const Layer&, const float* x, float* y, int64_t step, int64_t lanes, bool relu);

  // dx = W^T dy, zero where `active` [inputs][lanes] (if given) is not above zero.
  void (*backward)(const Layer&, const float* dy, const float* active, float* dx, int64_t step,
                   int64_t lanes);

  // Applies an activation other than ReLU in place; swish also writes its sigmoids, if `sigmoids` is given.
  void (*activate)(Activation, int64_t features, float* y, int64_t step, int64_t lanes,
                   float* sigmoids);

  // Turns gradients by an activation's outputs into gradients by its inputs, in place; all are
  // tiles.
  void (*derive)(Activation, int64_t features, const float* y, const float* sigmoids, float* dy,
                 int64_t lanes);

  // y = factor x + offset, feature by feature, or factor x where there are no offsets, and max(y, 0)
  // if `relu`; y may be x.
  void (*scale)(int64_t features, Affine, const float* x, int64_t x_step, float* y, int64_t y_step,
                int64_t lanes, bool relu);

  // The mean of each feature over the first `there` lanes of a tile, and its sum of squared
  // deviations from that.
  void (*moments)(int64_t features, const float* x, int64_t there, int64_t lanes, float* mean,
                  float* squares);

  // For gradients dy by what a norm gives of x: the sums over lanes of dy, and of dy times the
  // normalised x. dy is zero in lanes that are not there.
  void (*norm_sums)(int64_t features, Normalised, const float* x, const float* dy, int64_t lanes,
                    float* by_shift, float* by_gain);

  // Makes of them gradients by x, where the norm's statistics are those of the batch:
  // factor (dy - shift - slope (x - mean)), and zero in lanes that are not there. If `relu`, x is
  // what a ReLU gave, and they are those by what it took. `to` may be dy.
  void (*through_norm)(int64_t features, Normalised, const float* x, const float* dy, int64_t there,
                       int64_t lanes, bool relu, float* to);

  // dW at the stored places and db, summed over the batch, for the rows (of the grid) first..end.
  // No db if `dbias` is null.
  void (*gradient)(const Layer&, int64_t first, int64_t end, Tiles x, Tiles dy, float* dweight,
                   float* dbias);
};

constexpr int64_t kLanes = 32, kFewLanes = 16;

// Samples in a tile, for a batch of this size; the last tile is filled up with zeros.
constexpr int64_t LanesFor(int64_t batch) { return batch <= kFewLanes ? kFewLanes : kLanes; }

// The path in use: the best one that the processor can run, or the one that ForcePath chose.
const Path& CurrentPath();

// Chooses a path by name, or the best one for "". False if this build or processor does not have
// it.
bool ForcePath(const char* name);

}  // namespace sparl
