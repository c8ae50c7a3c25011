// Batch norms of a tile, as part of path.h; what each does is said in layer.h.
#pragma once

#include <cstdint>

#include "activations.h"
#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

template <int64_t kTile, bool kRelu>
void ScaleTile(int64_t features, Affine norm, const float* x, int64_t x_step, float* y,
               int64_t y_step) {
  for (int64_t f = 0; f < features; ++f, x += x_step, y += y_step) {
    const Vector factor = Vector{} + norm.factor[f];
    const Vector offset = Vector{} + (norm.offset ? norm.offset[f] : 0.0f);
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      const Vector scaled = factor * Load(x + lane) + offset;
      Store(y + lane, kRelu ? Relu(scaled) : scaled);
    }
  }
}

// Sums over lanes that are made together.
constexpr int kAtOnce = 8;

// Adds term(feature, offset in a tile, sums) over the lanes of some features, and calls
// finish(feature, totals) for each; there are kTerms sums of a feature.
template <int64_t kTile, int kTerms, int kFeatures, typename Term, typename Finish>
void SumFeatures(int64_t first, const Term& term, const Finish& finish) {
  constexpr int kCount = kTerms * kFeatures;
  Vector sums[kCount] = {};
  for (int i = 0; i < kFeatures; ++i) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      term(first + i, (first + i) * kTile + lane, sums + i * kTerms);
    }
  }
  float totals[kCount > kVector ? kCount : kVector];
  Total<kCount>(sums, totals);
  for (int i = 0; i < kFeatures; ++i) finish(first + i, totals + i * kTerms);
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

// Calls some(first, number of features, a Count) until all features are done.
template <int kTerms, typename Some>
void ForSomeFeatures(int64_t features, const Some& some) {
  constexpr int kFeatures = kAtOnce / kTerms;
  int64_t f = 0;
  for (; f + kFeatures <= features; f += kFeatures) {
    some(f, Count<kFeatures>());
  }
  for (; f < features; ++f) some(f, Count<1>());
}

template <int64_t kTile>
void MomentsOfTile(int64_t features, const float* x, float* mean, float* squares) {
  // Both sums of some features before the next ones, while these lie in the nearest cache.
  ForSomeFeatures<1>(features, [&](int64_t first, auto count) {
    SumFeatures<kTile, 1, count.value>(
        first, [&](int64_t, int64_t at, Vector* sum) { *sum += Load(x + at); },
        [&](int64_t f, const float* total) { mean[f] = *total / kTile; });
    SumFeatures<kTile, 1, count.value>(
        first,
        [&](int64_t f, int64_t at, Vector* sum) {
          const Vector off = Load(x + at) - mean[f];
          *sum += off * off;
        },
        [&](int64_t f, const float* total) { squares[f] = *total; });
  });
}

void MomentsOfPart(int64_t features, const float* x, int64_t there, int64_t lanes, float* mean,
                   float* squares) {
  for (int64_t f = 0; f < features; ++f, x += lanes) {
    float total = 0, deviations = 0;
    for (int64_t i = 0; i < there; ++i) total += x[i];
    mean[f] = total / there;
    for (int64_t i = 0; i < there; ++i) deviations += (x[i] - mean[f]) * (x[i] - mean[f]);
    squares[f] = deviations;
  }
}

template <int64_t kTile>
void NormSumsOfTile(int64_t features, Normalised norm, const float* x, const float* dy,
                    float* by_shift, float* by_gain) {
  ForSomeFeatures<2>(features, [&](int64_t first, auto count) {
    SumFeatures<kTile, 2, count.value>(
        first,
        [&](int64_t f, int64_t at, Vector* sums) {
          const Vector d = Load(dy + at);
          sums[0] += d;
          sums[1] += d * (Load(x + at) - norm.mean[f]);
        },
        [&](int64_t f, const float* totals) {
          by_shift[f] = totals[0];
          by_gain[f] = totals[1] * norm.rate[f];
        });
  });
}

template <int64_t kTile>
void ThroughNormOfTile(int64_t features, Normalised norm, const float* x, const float* dy,
                       int64_t there, bool relu, float* to) {
  for (int64_t f = 0; f < features; ++f, x += kTile, dy += kTile, to += kTile) {
    const Vector factor = Vector{} + norm.factor[f], shift = Vector{} + norm.shift[f];
    const Vector slope = Vector{} + norm.slope[f], mean = Vector{} + norm.mean[f];
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      const Vector taken = Load(x + lane);
      const Vector by_x = factor * (Load(dy + lane) - shift - slope * (taken - mean));
      Store(to + lane, relu ? (taken > 0 ? by_x : Vector{}) : by_x);
    }
    for (int64_t i = there; i < kTile; ++i) to[i] = 0;
  }
}

template <bool kRelu>
void ScaleAll(int64_t features, Affine norm, const float* x, int64_t x_step, float* y,
              int64_t y_step, int64_t lanes) {
  lanes == kLanes ? ScaleTile<kLanes, kRelu>(features, norm, x, x_step, y, y_step)
                  : ScaleTile<kFewLanes, kRelu>(features, norm, x, x_step, y, y_step);
}

void Scale(int64_t features, Affine norm, const float* x, int64_t x_step, float* y, int64_t y_step,
           int64_t lanes, bool relu) {
  relu ? ScaleAll<true>(features, norm, x, x_step, y, y_step, lanes)
       : ScaleAll<false>(features, norm, x, x_step, y, y_step, lanes);
}

void TileMoments(int64_t features, const float* x, int64_t there, int64_t lanes, float* mean,
                 float* squares) {
  if (there < lanes) return MomentsOfPart(features, x, there, lanes, mean, squares);
  lanes == kLanes ? MomentsOfTile<kLanes>(features, x, mean, squares)
                  : MomentsOfTile<kFewLanes>(features, x, mean, squares);
}

void NormSums(int64_t features, Normalised norm, const float* x, const float* dy, int64_t lanes,
              float* by_shift, float* by_gain) {
  lanes == kLanes ? NormSumsOfTile<kLanes>(features, norm, x, dy, by_shift, by_gain)
                  : NormSumsOfTile<kFewLanes>(features, norm, x, dy, by_shift, by_gain);
}

void ThroughNorm(int64_t features, Normalised norm, const float* x, const float* dy, int64_t there,
                 int64_t lanes, bool relu, float* to) {
  lanes == kLanes ? ThroughNormOfTile<kLanes>(features, norm, x, dy, there, relu, to)
                  : ThroughNormOfTile<kFewLanes>(features, norm, x, dy, there, relu, to);
}

}  // namespace
}  // namespace sparl
