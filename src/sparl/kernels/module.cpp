// The Python module sparl.kernels._cpu.

#include <nanobind/nanobind.h>

#include "kernels.h"
#include "layer.h"

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
        all["transpose"] = Handler(sparl::Transpose);
        all["infer"] = Handler(sparl::Infer);
        all["forward"] = Handler(sparl::Forward);
        all["deltas"] = Handler(sparl::Deltas);
        all["input_gradient"] = Handler(sparl::InputGradient);
        all["gradients"] = Handler(sparl::Gradients);
        return all;
      },
      "Name of each XLA FFI handler -> capsule with its address.");
  m.def(
      "instruction_set", [] { return sparl::CurrentPath().name; },
      "The instruction set in use: avx512, avx2+fma, neon or portable.");
  m.def("force_instruction_set", &sparl::ForcePath, nb::arg("name"),
        "Use another one; \"\" is the best there is. False where it cannot run here.");
  m.def("lanes", &sparl::LanesFor, nb::arg("batch"), "Samples in a tile of a batch.");
}
