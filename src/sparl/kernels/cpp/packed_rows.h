// Walking over matrices stored as packed rows, with every index checked before it is used.
//
// A matrix [rows, width] of which `kept` entries are stored:
//   values      float32 [kept]      row by row
//   columns     int32   [kept]      the column of each value
//   row_starts  int32   [rows + 1]  row r is values[row_starts[r] : row_starts[r + 1]]
// All buffers may have the same number of leading batch dimensions. Where a batch dimension of an
// operand is 1, the operand serves the whole batch (vmap's "expand_dims").
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "xla/ffi/api/ffi.h"

namespace sparl {

namespace ffi = xla::ffi;

using Floats = ffi::Buffer<ffi::F32>;
using Indices = ffi::Buffer<ffi::S32>;
using Dimensions = Floats::Dimensions;

// One row, stored and dense.
struct Row {
  float* values;
  const int32_t* columns;
  int64_t kept;
  float* dense;
  int64_t width;
};

// The number of the matrix, among those of an operand, that belongs to entry `flat` of the batch.
inline int64_t BatchPosition(Dimensions operand, Dimensions batch, int64_t flat) {
  int64_t position = 0, stride = 1;
  for (size_t d = batch.size(); d-- > 0;) {
    if (operand[d] != 1) position += (flat % batch[d]) * stride;
    flat /= batch[d];
    stride *= operand[d];
  }
  return position;
}

inline bool FitsBatch(Dimensions operand, size_t core, Dimensions batch) {
  if (operand.size() != batch.size() + core) return false;
  for (size_t d = 0; d < batch.size(); ++d) {
    if (operand[d] != 1 && operand[d] != batch[d]) return false;
  }
  return true;
}

// `count` + 1 starts, from 0 to `kept`, none smaller than the one before.
inline ffi::Error CheckStarts(const std::string& name, const int32_t* starts, int64_t count,
                              int64_t kept) {
  if (starts[0] != 0) {
    return ffi::Error::InvalidArgument(name + "[0] is " + std::to_string(starts[0]) +
                                       ", it must be 0");
  }
  for (int64_t r = 0; r < count; ++r) {
    if (starts[r + 1] < starts[r]) {
      return ffi::Error::InvalidArgument(name + " goes down after number " + std::to_string(r) +
                                         ", from " + std::to_string(starts[r]) + " to " +
                                         std::to_string(starts[r + 1]));
    }
  }
  if (starts[count] != kept) {
    return ffi::Error::InvalidArgument(name + " ends with " + std::to_string(starts[count]) +
                                       ", but " + std::to_string(kept) + " values are kept");
  }
  return ffi::Error::Success();
}

// Whether all values are from 0 to end - 1. Every call checks every index, so this must be fast:
// there is no early exit and no comparison, only the sign bits of a value and of its distance to
// the end.
inline bool InRange(const int32_t* values, int64_t count, int64_t end) {
  const uint32_t last = static_cast<uint32_t>(end - 1);
  uint32_t signs = 0;
  for (int64_t k = 0; k < count; ++k) {
    const uint32_t value = static_cast<uint32_t>(values[k]);
    signs |= value | (last - value);
  }
  return static_cast<int32_t>(signs) >= 0;
}

// Calls visit(Row) for every row of every matrix of the batch; `batch` has the leading dimensions
// of the handler's result. Returns InvalidArgument for an index outside a buffer, before its row is
// touched. The rows before it are done by then; XLA throws the result away.
template <typename Visit>
ffi::Error ForEachRow(Dimensions batch, Floats values, Indices columns, Indices row_starts,
                      Floats dense, Visit visit) {
  const Dimensions v = values.dimensions(), c = columns.dimensions();
  const Dimensions s = row_starts.dimensions(), d = dense.dimensions();
  if (!FitsBatch(v, 1, batch) || !FitsBatch(c, 1, batch) || !FitsBatch(s, 1, batch) ||
      !FitsBatch(d, 2, batch)) {
    return ffi::Error::InvalidArgument("leading dimensions do not agree");
  }
  const int64_t kept = v.back(), rows = d[d.size() - 2], width = d.back();
  if (c.back() != kept) {
    return ffi::Error::InvalidArgument(std::to_string(kept) + " values, but " +
                                       std::to_string(c.back()) + " columns");
  }
  if (s.back() != rows + 1) {
    return ffi::Error::InvalidArgument(std::to_string(rows) + " rows need " +
                                       std::to_string(rows + 1) + " row_starts, not " +
                                       std::to_string(s.back()));
  }
  if (width > std::numeric_limits<int32_t>::max()) {
    return ffi::Error::InvalidArgument("a row of " + std::to_string(width) +
                                       " columns is more than an int32 can number");
  }

  int64_t matrices = 1;
  for (int64_t size : batch) matrices *= size;
  for (int64_t b = 0; b < matrices; ++b) {
    const int32_t* starts = row_starts.typed_data() + BatchPosition(s, batch, b) * (rows + 1);
    const int32_t* cols = columns.typed_data() + BatchPosition(c, batch, b) * kept;
    float* packed = values.typed_data() + BatchPosition(v, batch, b) * kept;
    float* matrix = dense.typed_data() + BatchPosition(d, batch, b) * rows * width;
    if (ffi::Error error = CheckStarts("row_starts", starts, rows, kept); error.failure()) {
      return error;
    }
    for (int64_t r = 0; r < rows; ++r) {
      const Row row{packed + starts[r], cols + starts[r], starts[r + 1] - starts[r],
                    matrix + r * width, width};
      if (!InRange(row.columns, row.kept, row.width)) {
        return ffi::Error::InvalidArgument("row " + std::to_string(r) +
                                           " has a column outside 0.." +
                                           std::to_string(width - 1));
      }
      visit(row);
    }
  }
  return ffi::Error::Success();
}

}  // namespace sparl
