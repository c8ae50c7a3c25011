// Activations and their slopes, as part of path.h. (The products can also apply ReLU themselves.)
#pragma once

#include <cstdint>

#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

typedef uint32_t Bits __attribute__((vector_size(4 * SPARL_VECTOR)));

// Splits x = n ln 2 + r, with n the nearest whole number. Returns e^r - 1 and sets `scale` to 2^n.
// The polynomial and the two parts of ln 2 are those of Cephes' expf. x is clipped to where e^x is
// a float.
inline Vector Reduced(Vector x, Vector* scale) {
  x = x < -87.0f ? Vector{} - 87.0f : x;
  x = x > 88.0f ? Vector{} + 88.0f : x;
  // Floats of this size are 1 apart, so that adding it rounds, and the last bits of the sum are n.
  constexpr float kShift = 12582912.0f;
  const Vector shifted = x * 1.44269504f + kShift;
  const Vector n = shifted - kShift;
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  *scale = reinterpret_cast<Vector>((reinterpret_cast<Bits>(shifted) << 23) + 0x3F800000u);
  Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * (r * r) + r;
}

inline Vector Exp(Vector x) {
  Vector scale;
  const Vector less = Reduced(x, &scale);
  return less * scale + scale;
}

inline Vector ExpLess1(Vector x) {
  Vector scale;
  const Vector less = Reduced(x, &scale);
  return less * scale + (scale - 1.0f);
}

// NaN stays NaN, so that a loss shows it.
inline Vector Relu(Vector x) { return x < 0 ? Vector{} : x; }

inline Vector Tanh(Vector x) {
  const Vector t = ExpLess1(x + x);
  return t / (t + 2.0f);
}

// Calls function(offset in an array with `step` floats between features, offset in a tile).
template <typename Function>
void ForEachVector(int64_t features, int64_t step, int64_t lanes, Function function) {
  for (int64_t f = 0; f < features; ++f) {
    for (int64_t lane = 0; lane < lanes; lane += kVector) function(f * step + lane, f * lanes + lane);
  }
}

void Activate(Activation activation, int64_t features, float* y, int64_t step, int64_t lanes,
              float* sigmoids) {
  const auto each = [&](auto function) {
    ForEachVector(features, step, lanes,
                  [&](int64_t at, int64_t) { Store(y + at, function(Load(y + at))); });
  };
  switch (activation) {
    case kNone:
    case kRelu:  // is applied where sums are stored
      return;
    case kElu:
      return each([](Vector x) { return x > 0 ? x : ExpLess1(x); });
    case kTanh:
      return each(Tanh);
    case kSwish:
      return ForEachVector(features, step, lanes, [&](int64_t at, int64_t in_tile) {
        const Vector x = Load(y + at), sigmoid = 1.0f / (Exp(-x) + 1.0f);
        if (sigmoids) Store(sigmoids + in_tile, sigmoid);
        Store(y + at, x * sigmoid);
      });
  }
}

void Derive(Activation activation, int64_t features, const float* y, const float* sigmoids, float* dy,
            int64_t lanes) {
  const auto each = [&](auto slope) {
    ForEachVector(features, lanes, lanes, [&](int64_t at, int64_t) {
      Store(dy + at, slope(Load(dy + at), Load(y + at), at));
    });
  };
  switch (activation) {
    case kNone:
      return;
    case kRelu:
      return each([](Vector d, Vector y, int64_t) { return y > 0 ? d : Vector{}; });
    case kElu:
      return each([](Vector d, Vector y, int64_t) { return y > 0 ? d : d * (y + 1.0f); });
    case kTanh:
      return each([](Vector d, Vector y, int64_t) { return d * (1.0f - y * y); });
    case kSwish:
      return each([&](Vector d, Vector y, int64_t at) {
        const Vector sigmoid = Load(sigmoids + at);
        return d * (sigmoid + y * (1.0f - sigmoid));
      });
  }
}

}  // namespace
}  // namespace sparl
