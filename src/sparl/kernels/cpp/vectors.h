// Registers with SPARL_VECTOR floats each, and how their lanes are added up. For path.h, which says
// why nothing here may use a function of the standard library.
#pragma once

#include <cstdint>
#include <utility>

namespace sparl {
namespace {

constexpr int64_t kVector = SPARL_VECTOR;
// Registers that hold partial sums; every processor has at least twice as many.
constexpr int kSums = SPARL_VECTOR >= 16 ? 16 : 8;
typedef float Vector __attribute__((vector_size(4 * SPARL_VECTOR)));
// Loads need no alignment; XLA's arrays are aligned to cache lines and cost the same. (A type
// besides Vector, because as a template's argument Vector would lose these attributes.)
typedef float InMemory __attribute__((vector_size(4 * SPARL_VECTOR), aligned(4), may_alias));

inline Vector Load(const float* at) { return *reinterpret_cast<const InMemory*>(at); }
inline void Store(float* at, Vector value) { *reinterpret_cast<InMemory*>(at) = value; }

// Lane i of the result is lane kFrom[i] of the two vectors one after the other.
template <int... kFrom>
inline Vector Pick(Vector a, Vector b, std::integer_sequence<int, kFrom...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, kFrom...);
#else
  typedef int Order __attribute__((vector_size(4 * SPARL_VECTOR)));
  return __builtin_shuffle(a, b, Order{kFrom...});
#endif
}

// Both vectors consist of segments that are to be summed up. The result has all segments of a and b
// at half the length: their first halves plus their second halves.
template <int kSegment, int... kLane>
inline Vector Halve(Vector a, Vector b, std::integer_sequence<int, kLane...>) {
  constexpr int kHalf = kSegment / 2;
  const Vector first = Pick(
      a, b, std::integer_sequence<int, (kLane / kHalf * kSegment + kLane % kHalf)...>());
  const Vector second = Pick(
      a, b, std::integer_sequence<int, (kLane / kHalf * kSegment + kLane % kHalf + kHalf)...>());
  return first + second;
}

// totals[i] = the sum of the lanes of sums[i], for a power of two of them at once. The order of
// addition is always the same, and it takes a third of the steps that one vector after the other
// would.
template <int kCount, int kSegment = kVector>
inline void Total(Vector* sums, float* totals) {
  using Lanes = std::make_integer_sequence<int, kVector>;
  if constexpr (kSegment == 1) {
    float lanes[kCount * kVector];
    for (int i = 0; i < kCount; ++i) Store(lanes + i * kVector, sums[i]);
    for (int i = 0; i < kCount * kVector; ++i) totals[i] = lanes[i];
  } else if constexpr (kCount > 1) {
    for (int i = 0; i < kCount / 2; ++i) {
      sums[i] = Halve<kSegment>(sums[2 * i], sums[2 * i + 1], Lanes());
    }
    Total<kCount / 2, kSegment / 2>(sums, totals);
  } else {
    sums[0] = Halve<kSegment>(sums[0], sums[0], Lanes());
    Total<1, kSegment / 2>(sums, totals);
  }
}

// totals[i * row_step + j] = the sum of the lanes of sums[i * kColumns + j], or that is added to it.
template <int kRows, int kColumns>
inline void TotalInto(Vector* sums, float* totals, int64_t row_step, bool add) {
  constexpr int kCount = kRows * kColumns;
  float padded[kCount > kVector ? kCount : kVector];
  Total<kCount>(sums, padded);
  for (int i = 0; i < kRows; ++i) {
    const float* const from = padded + i * kColumns;
    float* const to = totals + i * row_step;
    if (add) {
      for (int j = 0; j < kColumns; ++j) to[j] += from[j];
    } else {
      for (int j = 0; j < kColumns; ++j) to[j] = from[j];
    }
  }
}

}  // namespace
}  // namespace sparl
