// The real Fourier basis of G numbers, in which every circulant matrix is almost diagonal.
//
// The *components* of x[0 .. G) are their sum, their sum with alternating signs, and then two for
// each other frequency f: the sums of cos(2 pi f t / G) x[t] and of sin(2 pi f t / G) x[t]. The
// order of frequencies is recursive: the first half are those of G / 2 numbers.
//
// The *spectrum* w of a circulant block, W[r, s] = c[(s - r) mod G], is the components of c times a
// scale. Let x be components from here on. Then W x is, in components as Synthesise takes them,
//     y[0] = w[0] x[0],  y[1] = w[1] x[1],  and for each other frequency, with (a, b) of w,
//     y[m] = a x[m] + b x[m + 1],  y[m + 1] = a x[m + 1] - b x[m].
// That takes 2 G - 2 products instead of G * G. The transposed block has -b in place of b.
//
// Nothing here may use a function of the standard library, and all is local to its file: see
// path.h.
#pragma once

#include <cstdint>

namespace sparl {
namespace {

// cos(2 pi turns / G) for any whole number of turns that is not negative; G divides 16.
template <int64_t G>
constexpr float Cosine(int64_t turns) {
  constexpr float kCosines[16] = {1,  0.923879532f,  0.707106781f,  0.382683432f,
                                  0,  -0.382683432f, -0.707106781f, -0.923879532f,
                                  -1, -0.923879532f, -0.707106781f, -0.382683432f,
                                  0,  0.382683432f,  0.707106781f,  0.923879532f};
  return kCosines[turns * (16 / G) % 16];
}

template <int64_t G>
constexpr float Sine(int64_t turns) {
  return Cosine<16>(turns * (16 / G) + 12);
}

// Turns G numbers, or registers full of them, into components, in place. Even frequencies are those
// of half as many numbers, the sums of two that lie G / 2 apart. Odd frequencies need only the
// differences.
//
// It is always inlined, so that registers stay registers: by way of memory, products of few blocks
// took a quarter longer.
template <int64_t G, typename T>
inline __attribute__((always_inline)) void Analyse(T* x) {
  if constexpr (G > 1) {
    constexpr int64_t kHalf = G / 2;
    T difference[kHalf];
    for (int64_t t = 0; t < kHalf; ++t) {
      difference[t] = x[t] - x[t + kHalf];
      x[t] += x[t + kHalf];
    }
    Analyse<kHalf>(x);
    if constexpr (G <= 4) {  // all cosines and sines are zero or one
      for (int64_t t = 0; t < kHalf; ++t) x[kHalf + t] = difference[t];
    } else {
      for (int64_t f = 1; f < kHalf; f += 2) {
        T *cosines = x + kHalf + f - 1, *sines = cosines + 1;
        *cosines = difference[0];
        *sines = Sine<G>(f) * difference[1];
        for (int64_t t = 1; t < kHalf; ++t) *cosines += Cosine<G>(f * t) * difference[t];
        for (int64_t t = 2; t < kHalf; ++t) *sines += Sine<G>(f * t) * difference[t];
      }
    }
  }
}

// The transpose of Analyse; with the scale of spectra in between, its inverse.
template <int64_t G, typename T>
inline __attribute__((always_inline)) void Synthesise(T* x) {
  if constexpr (G > 1) {
    constexpr int64_t kHalf = G / 2;
    T difference[kHalf];
    for (int64_t t = 0; t < kHalf; ++t) {
      if constexpr (G <= 4) {
        difference[t] = x[kHalf + t];
      } else {
        difference[t] = Cosine<G>(t) * x[kHalf] + Sine<G>(t) * x[kHalf + 1];
        for (int64_t f = 3; f < kHalf; f += 2) {
          difference[t] += Cosine<G>(f * t) * x[kHalf + f - 1];
          difference[t] += Sine<G>(f * t) * x[kHalf + f];
        }
      }
    }
    Synthesise<kHalf>(x);
    for (int64_t t = 0; t < kHalf; ++t) {
      x[t + kHalf] = x[t] - difference[t];
      x[t] += difference[t];
    }
  }
}

// Multiplies components by the scale with which Synthesise is the inverse of Analyse.
template <int64_t G, typename T>
inline void Scale(T* components) {
  for (int64_t m = 0; m < G; ++m) components[m] *= (m < 2 ? 1.0f : 2.0f) / G;
}

// The spectrum of a block, or of the block transposed.
template <int64_t G>
inline void Spectrum(const float* block, bool transposed, float* spectrum) {
  float all[G];
  for (int64_t t = 0; t < G; ++t) all[t] = block[t];
  Analyse<G>(all);
  Scale<G>(all);
  for (int64_t m = 0; m < G; ++m) spectrum[m] = transposed && m > 1 && m % 2 ? -all[m] : all[m];
}

template <int64_t kSize>
struct Group {
  static constexpr int64_t size = kSize;
};

// Calls visit(Group<group>()); `group` is one of the sizes that blocks may have.
template <typename Visit>
inline void WithGroup(int64_t group, Visit visit) {
  switch (group) {
    case 2: return visit(Group<2>());
    case 4: return visit(Group<4>());
    case 8: return visit(Group<8>());
    case 16: return visit(Group<16>());
  }
}

}  // namespace
}  // namespace sparl
