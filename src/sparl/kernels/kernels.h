// What the module exports: XLA FFI handlers and what the running processor can do.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace sparl {

// Packed rows to a dense matrix; see expand.cpp.
XLA_FFI_Error* Expand(XLA_FFI_CallFrame* call_frame);

// A dense matrix's entries at packed places; see expand.cpp.
XLA_FFI_Error* Gather(XLA_FFI_CallFrame* call_frame);

// The best of "avx512", "avx2+fma", "neon" and "portable" that this processor has.
const char* InstructionSet();

}  // namespace sparl
