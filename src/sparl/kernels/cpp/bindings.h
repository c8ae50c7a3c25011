// How the calls on networks are bound to XLA. They take its pool, arrays of floats (the network's
// values are the last of them) and indices, return arrays of floats, and have the form as
// attribute.
#pragma once

#include <utility>

#include "operands.h"

namespace sparl {
namespace {

// A binding cannot be moved, so each step returns the next one as it is made. Counts are at least
// 1.
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
