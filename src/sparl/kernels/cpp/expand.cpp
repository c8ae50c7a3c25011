// Packed rows to a dense matrix and back. Each is the transpose of the other, and so its gradient.
// Both run on the calling thread alone: a layer is a few hundred kilobytes, and a handler that
// waits for XLA's thread pool can deadlock.

#include <algorithm>

#include "kernels.h"
#include "packed_rows.h"

namespace sparl {
namespace {

// dense[r, columns[k]] = values[k] for the k of row r, zero elsewhere. Where a row names a column
// twice, the later value stays.
ffi::Error ExpandRows(Floats values, Indices columns, Indices row_starts,
                      ffi::Result<Floats> dense) {
  const Dimensions shape = dense->dimensions();
  if (shape.size() < 2) return ffi::Error::InvalidArgument("the dense result needs two dimensions");
  return ForEachRow(shape.first(shape.size() - 2), values, columns, row_starts, *dense,
                    [](const Row& row) {
                      std::fill_n(row.dense, row.width, 0.0f);
                      for (int64_t k = 0; k < row.kept; ++k) {
                        row.dense[row.columns[k]] = row.values[k];
                      }
                    });
}

// values[k] = dense[r, columns[k]] for the k of row r.
ffi::Error GatherRows(Floats dense, Indices columns, Indices row_starts,
                      ffi::Result<Floats> values) {
  const Dimensions shape = values->dimensions();
  if (shape.size() < 1) return ffi::Error::InvalidArgument("the packed result needs a dimension");
  return ForEachRow(shape.first(shape.size() - 1), *values, columns, row_starts, dense,
                    [](const Row& row) {
                      for (int64_t k = 0; k < row.kept; ++k) {
                        row.values[k] = row.dense[row.columns[k]];
                      }
                    });
}

}  // namespace

XLA_FFI_Error* Expand(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(
      handler, ExpandRows,
      ffi::Ffi::Bind().Arg<Floats>().Arg<Indices>().Arg<Indices>().Ret<Floats>());
  return handler(call_frame);
}

XLA_FFI_Error* Gather(XLA_FFI_CallFrame* call_frame) {
  XLA_FFI_DEFINE_HANDLER(
      handler, GatherRows,
      ffi::Ffi::Bind().Arg<Floats>().Arg<Indices>().Arg<Indices>().Ret<Floats>());
  return handler(call_frame);
}

}  // namespace sparl
