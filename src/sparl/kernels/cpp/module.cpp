// The Python module sparl.kernels._cpu.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "form.h"
#include "kernels.h"
#include "trace.h"

namespace nb = nanobind;

namespace {

// jax.ffi.register_ffi_target takes a handler's address in a capsule.
nb::capsule Handler(XLA_FFI_Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

using Sizes = std::vector<int64_t>;
template <typename T, int kDimensions>
using Array = nb::ndarray<T, nb::ndim<kDimensions>, nb::c_contig, nb::device::cpu>;

// One network outside XLA.
class Inference {
 public:
  explicit Inference(const Sizes& code) : form_({code.data(), code.size()}) {
    if (!form_.error().empty()) throw nb::value_error(form_.error().c_str());
  }

  void Run(Array<const float, 1> values, Array<const int32_t, 1> indices, Array<const float, 2> x,
           Array<float, 2> y) const {
    if (static_cast<int64_t>(x.shape(0)) != form_.widths().front() ||
        static_cast<int64_t>(y.shape(0)) != form_.outputs() || x.shape(1) != y.shape(1)) {
      throw nb::value_error("x or y has another shape than the network");
    }
    const std::string wrong = sparl::InferHere(form_, values.data(), values.size(), indices.data(),
                                               indices.size(), x.data(), y.data(), x.shape(1));
    if (!wrong.empty()) throw nb::value_error(wrong.c_str());
  }

 private:
  const sparl::Form form_;
};

}  // namespace

NB_MODULE(_cpu, m) {
  m.doc() = "The compiled kernels: XLA FFI handlers for the CPU.";
  // At exit it would tell of every policy that somebody keeps for good, in a cache say.
  nb::set_leak_warnings(false);
  m.def(
      "handlers",
      [] {
        nb::dict all;
        all["expand"] = Handler(sparl::Expand);
        all["gather"] = Handler(sparl::Gather);
        all["transpose"] = Handler(sparl::Transpose);
        all["infer"] = Handler(sparl::Infer);
        all["forward"] = Handler(sparl::Forward);
        all["backward"] = Handler(sparl::Backward);
        all["forward_by_batch"] = Handler(sparl::ForwardByBatch);
        all["backward_by_batch"] = Handler(sparl::BackwardByBatch);
        return all;
      },
      "Name of each XLA FFI handler -> capsule with its address.");
  m.def(
      "instruction_set", [] { return sparl::CurrentPath().name; },
      "The instruction set in use: avx512, avx2+fma, neon or portable.");
  m.def("force_instruction_set", &sparl::ForcePath, nb::arg("name"),
        "Use another one; \"\" is the best there is. False where it cannot run here.");
  m.def("lanes", &sparl::LanesFor, nb::arg("batch"), "Samples in a tile of a batch.");
  m.def(
      "start_trace", [] { sparl::trace.Start(); }, "Note what threads do from now on.");
  m.def(
      "stop_trace",
      [] {
        nb::list calls;
        for (const sparl::Call& c : sparl::trace.Stop()) {
          calls.append(nb::make_tuple(c.where, c.tasks, c.by_helpers, c.threads, c.us, c.waited_us));
        }
        return calls;
      },
      "The calls since then, as native.Call has them.");
  nb::class_<Inference>(m, "Inference", "One network, run outside XLA.")
      .def(nb::init<Sizes>(), nb::arg("form"))
      .def("run", &Inference::Run, nb::arg("values"), nb::arg("indices"), nb::arg("x"),
           nb::arg("y"), "Writes y [outputs, batch] for x [inputs, batch].");
}
