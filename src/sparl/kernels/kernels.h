// What the module exports: XLA FFI handlers, and the choice among instruction sets (layer.h).
#pragma once

#include "xla/ffi/api/ffi.h"

namespace sparl {

// Packed rows to a dense matrix, and a dense matrix's entries at packed places; see expand.cpp.
XLA_FFI_Error* Expand(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Gather(XLA_FFI_CallFrame* call_frame);

// The places of packed rows column by column; see transpose.cpp.
XLA_FFI_Error* Transpose(XLA_FFI_CallFrame* call_frame);

// Networks of dense and packed layers, and their gradients; see network.cpp.
XLA_FFI_Error* Infer(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Forward(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Deltas(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* InputGradient(XLA_FFI_CallFrame* call_frame);
XLA_FFI_Error* Gradients(XLA_FFI_CallFrame* call_frame);

}  // namespace sparl
