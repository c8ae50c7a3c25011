// The places of packed rows column by column, by a stable counting sort; once per restructuring.

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "operands.h"

namespace sparl {
namespace {

// Counted column by column, the k-th kept value lies in row rows[k] and is value number order[k].
// The values of column c are those from column_starts[c] to column_starts[c + 1].
ffi::Error TransposeIndices(Indices columns, Indices row_starts, ffi::Result<Indices> rows,
                            ffi::Result<Indices> column_starts, ffi::Result<Indices> order) {
  const Dimensions shape = rows->dimensions();
  if (shape.size() < 1 || row_starts.dimensions().size() < 1 ||
      column_starts->dimensions().size() < 1) {
    return ffi::Error::InvalidArgument("indices need a dimension");
  }
  const Dimensions batch = shape.first(shape.size() - 1);
  const int64_t kept = shape.back(), outputs = row_starts.dimensions().back() - 1;
  const int64_t inputs = column_starts->dimensions().back() - 1;
  Reader reader(batch);
  const auto from = reader.Take<const int32_t>(columns, "columns", {kept});
  const auto starts = reader.Take<const int32_t>(row_starts, "row_starts", {outputs + 1});
  const auto to_rows = reader.Take<int32_t>(*rows, "rows", {kept});
  const auto to_starts = reader.Take<int32_t>(*column_starts, "column_starts", {inputs + 1});
  const auto to_order = reader.Take<int32_t>(*order, "order", {kept});
  if (!reader.ok()) return reader.error();

  for (int64_t n = 0; n < Count(batch); ++n) {
    const int32_t *column = from.At(n), *row_start = starts.At(n);
    ffi::Error error = CheckStarts("row_starts", row_start, outputs, kept);
    if (error.failure()) return error;
    if (!InRange(column, kept, inputs)) {
      return ffi::Error::InvalidArgument("a column is outside 0.." + std::to_string(inputs - 1));
    }
    int32_t* column_start = to_starts.At(n);
    std::fill_n(column_start, inputs + 1, 0);
    for (int64_t k = 0; k < kept; ++k) ++column_start[column[k] + 1];
    for (int64_t c = 0; c < inputs; ++c) column_start[c + 1] += column_start[c];
    std::vector<int32_t> next(column_start, column_start + inputs);
    for (int64_t r = 0; r < outputs; ++r) {
      for (int32_t k = row_start[r]; k < row_start[r + 1]; ++k) {
        const int32_t at = next[column[k]]++;
        to_rows.At(n)[at] = static_cast<int32_t>(r);
        to_order.At(n)[at] = k;
      }
    }
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_Error* Transpose(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(handler, TransposeIndices,
                         ffi::Ffi::Bind()
                             .Arg<Indices>()
                             .Arg<Indices>()
                             .Ret<Indices>()
                             .Ret<Indices>()
                             .Ret<Indices>());
  return handler(call_frame);
}

}  // namespace sparl
