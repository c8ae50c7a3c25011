// One layer of a network as the kernels see it, and the table of what they do with it.
//
// Activations are cut along the batch into tiles, [features][lanes] each, contiguous: a stored
// weight is broadcast and meets `lanes` samples at once, and a tile of a few hundred features
// stays in a core's own cache. (Rows of a [features, batch] matrix lie a power of two apart and
// would all compete for the same few cache lines.)
#pragma once

#include <cstdint>

namespace sparl {

// What becomes of a layer's sums. Swish is x sigmoid(x).
enum Activation : int64_t { kNone, kRelu, kSwish, kElu, kTanh };

// y = W x + b with W [outputs, inputs] stored whole, as packed rows, or as packed rows of circulant
// blocks (spectra.h) of `group` rows and columns, those of the last ones cut short. What follows on
// rows, columns and kept values is then meant of blocks.
struct Layer {
  int64_t outputs = 0, inputs = 0, group = 1;
  const float* weight = nullptr;  // dense: [outputs, inputs]; packed: [kept]; blocks: [kept, group]
  const float* bias = nullptr;    // [outputs]
  // Of a batch norm behind the sums: gain, shift, mean and variance, [outputs] each; null without.
  const float* norm = nullptr;
  // Packed rows; null for a dense layer. See packed_rows.h.
  const int32_t* columns = nullptr;
  const int32_t* row_starts = nullptr;
  // The same places column by column: entry k of column c lies in row rows[k] and its value is
  // weight[order[k]], for k from column_starts[c] to column_starts[c + 1].
  const int32_t* rows = nullptr;
  const int32_t* column_starts = nullptr;
  const int32_t* order = nullptr;
  int64_t kept = 0;
  // What the kernels multiply by in place of `weight` (prepared.h): the spectra of blocks, row by
  // row; and column by column packed values, or the spectra of the blocks transposed.
  const float* by_row = nullptr;
  const float* by_column = nullptr;
  // All that is left of the norm (batch_norms.h), [outputs] each.
  const float *factor = nullptr, *offset = nullptr;

  bool packed() const { return row_starts != nullptr || column_starts != nullptr; }
  bool circulant() const { return group > 1; }
  int64_t weights() const { return kept * group; }
  int64_t block_rows() const { return (outputs + group - 1) / group; }
  int64_t block_columns() const { return (inputs + group - 1) / group; }
  int64_t whole_outputs() const { return block_rows() * group; }
  int64_t whole_inputs() const { return block_columns() * group; }
};

// Activations of all tiles: tile t of a layer's features begins at data + t * stride.
struct Tiles {
  const float* data;
  int64_t stride;  // floats from one tile to the next
  int64_t count;
  int64_t lanes;
};

// The kernels for one instruction set. `lanes` is kFewLanes or kLanes throughout, and what is read
// lies in a tile. What is written is [features][lanes] with `step` floats from one feature to the
// next: a tile, or part of a matrix.
struct Path {
  const char* name;

  // x [features][lanes], group after group of features, to their components (spectra.h), for layers
  // of circulant blocks: they take x and dy so. `to` has room for whole groups, and may be x.
  void (*analyse)(int64_t group, int64_t features, const float* x, float* to, int64_t lanes);

  // y = W x + b, and max(y, 0) if `relu`; x [inputs][lanes], y [outputs][lanes].
  void (*forward)(const Layer&, const float* x, float* y, int64_t step, int64_t lanes, bool relu);

  // dx = W^T dy, zero where `active` [inputs][lanes] (if given) is not above zero.
  void (*backward)(const Layer&, const float* dy, const float* active, float* dx, int64_t step,
                   int64_t lanes);

  // In place, the values of an activation; of swish also the sigmoids, if `sigmoids` is given.
  void (*activate)(Activation, int64_t features, float* y, int64_t step, int64_t lanes,
                   float* sigmoids);

  // In place, gradients by an activation's values to those by the sums that it is of; all tiles.
  void (*derive)(Activation, int64_t features, const float* y, const float* sigmoids, float* dy,
                 int64_t lanes);

  // For the rows (of blocks) first..end: dW at the stored places, summed over the batch, and db.
  void (*gradient)(const Layer&, int64_t first, int64_t end, Tiles x, Tiles dy, float* dweight,
                   float* dbias);
};

constexpr int64_t kLanes = 32, kFewLanes = 16;

// Samples in a tile of a batch; the last tile is filled up with zeros.
constexpr int64_t LanesFor(int64_t batch) { return batch <= kFewLanes ? kFewLanes : kLanes; }

// The one in use: the best that the processor has, or what ForcePath chose.
const Path& CurrentPath();

// Chooses a path by name; false where this build or processor has no such path. "" for the best.
bool ForcePath(const char* name);

}  // namespace sparl
