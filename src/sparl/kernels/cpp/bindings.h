// How the calls on networks are bound to XLA: its pool, arrays of floats (the values are the last),
// indices, then arrays of floats that are given, and the form.
#pragma once

#include <utility>

#include "operands.h"

namespace sparl {
namespace {

// A binding cannot be moved, so each step gives the next one as it makes it; counts are 1 or more.
template <int kCount, typename Binding>
auto TakingFloats(Binding&& binding) {
  if constexpr (kCount == 1) {
    return std::move(binding).template Arg<Floats>();
  } else {
    return TakingFloats<kCount - 1>(std::move(binding).template Arg<Floats>());
  }
}

template <int kCount, typename Binding>
auto GivingFloats(Binding&& binding) {
  if constexpr (kCount == 1) {
    return std::move(binding).template Ret<Floats>();
  } else {
    return GivingFloats<kCount - 1>(std::move(binding).template Ret<Floats>());
  }
}

template <int kArguments, int kResults>
auto BindNetwork() {
  auto taking = TakingFloats<kArguments>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>());
  auto giving = GivingFloats<kResults>(std::move(taking).template Arg<Indices>());
  return std::move(giving).template Attr<Span>("form");
}

}  // namespace
}  // namespace sparl
