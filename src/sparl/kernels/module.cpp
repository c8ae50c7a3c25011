// The Python module sparl.kernels._cpu.

#include <nanobind/nanobind.h>

#include "kernels.h"

namespace nb = nanobind;

namespace {

// jax.ffi.register_ffi_target takes a handler's address in a capsule.
nb::capsule Handler(XLA_FFI_Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

}  // namespace

NB_MODULE(_cpu, m) {
  m.doc() = "The compiled kernels: XLA FFI handlers for the CPU.";
  m.def(
      "handlers",
      [] {
        nb::dict all;
        all["expand"] = Handler(sparl::Expand);
        all["gather"] = Handler(sparl::Gather);
        return all;
      },
      "Name of each XLA FFI handler -> capsule with its address.");
  m.def("instruction_set", &sparl::InstructionSet,
        "The best of avx512, avx2+fma, neon and portable that the running processor has.");
}
