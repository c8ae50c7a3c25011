// What the module exports: XLA FFI handlers, and a call outside XLA. (layer.h declares the choice
// among instruction sets.)
#pragma once

#include <string>

#include "xla/ffi/api/ffi.h"

namespace sparl {

// Packed rows to a dense matrix, and a dense matrix's entries at packed places; see expand.cpp.
XLA_FFI_Error* Expand(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Gather(XLA_FFI_CallFrame* call_frame);

// The places of packed rows column by column; see transpose.cpp.
XLA_FFI_Error* Transpose(XLA_FFI_CallFrame* call_frame);

// Networks of dense, packed and circulant layers; see forward.cpp and backward.cpp.
XLA_FFI_Error* Infer(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Forward(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Backward(XLA_FFI_CallFrame* call_frame);

// The same while batch norms are trained; see by_batch.h.
XLA_FFI_Error* ForwardByBatch(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* BackwardByBatch(XLA_FFI_CallFrame* call_frame);

class Form;  // form.h

// Computes y [outputs, batch] of one network for x [inputs, batch], on this thread and without XLA.
// Returns what is wrong, or an empty string.
std::string InferHere(const Form& form, const float* values, int64_t value_count,
                      const int32_t* indices, int64_t index_count, const float* x, float* y,
                      int64_t batch);

}  // namespace sparl
