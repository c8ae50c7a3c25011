// Batch norms of a tile, as part of path.h; what each does is said in layer.h.
#pragma once

#include <cstdint>

#include "layer.h"
#include "vectors.h"

namespace sparl {
namespace {

void Scale(int64_t features, Affine norm, const float* x, int64_t x_step, float* y, int64_t y_step,
           int64_t lanes) {
  for (int64_t f = 0; f < features; ++f, x += x_step, y += y_step) {
    const Vector factor = Vector{} + norm.factor[f];
    const Vector offset = Vector{} + (norm.offset ? norm.offset[f] : 0.0f);
    for (int64_t lane = 0; lane < lanes; lane += kVector) {
      Store(y + lane, factor * Load(x + lane) + offset);
    }
  }
}

// Features whose lanes are added up together.
constexpr int kTogether = 4;

// totals[f] = the sum over lanes of term(f, offset in a tile), for features f.
template <typename Term>
void SumLanes(int64_t features, int64_t lanes, float* totals, const Term& term) {
  int64_t f = 0;
  for (; f + kTogether <= features; f += kTogether) {
    Vector sums[kTogether] = {};
    for (int i = 0; i < kTogether; ++i) {
      for (int64_t lane = 0; lane < lanes; lane += kVector) {
        sums[i] += term(f + i, (f + i) * lanes + lane);
      }
    }
    TotalInto<1, kTogether>(sums, totals + f, 0, false);
  }
  for (; f < features; ++f) {
    Vector sum = {};
    for (int64_t lane = 0; lane < lanes; lane += kVector) sum += term(f, f * lanes + lane);
    TotalInto<1, 1>(&sum, totals + f, 0, false);
  }
}

void TileMoments(int64_t features, const float* x, int64_t there, int64_t lanes, float* mean,
                 float* squares) {
  if (there == lanes) {
    const float share = 1.0f / lanes;
    SumLanes(features, lanes, mean, [&](int64_t, int64_t at) { return Load(x + at); });
    for (int64_t f = 0; f < features; ++f) mean[f] *= share;
    SumLanes(features, lanes, squares, [&](int64_t f, int64_t at) {
      const Vector off = Load(x + at) - mean[f];
      return off * off;
    });
    return;
  }
  for (int64_t f = 0; f < features; ++f, x += lanes) {
    float total = 0, deviations = 0;
    for (int64_t i = 0; i < there; ++i) total += x[i];
    mean[f] = total / there;
    for (int64_t i = 0; i < there; ++i) deviations += (x[i] - mean[f]) * (x[i] - mean[f]);
    squares[f] = deviations;
  }
}

void NormSums(int64_t features, Normalised norm, const float* x, const float* dy, int64_t lanes,
              float* by_shift, float* by_gain) {
  SumLanes(features, lanes, by_shift, [&](int64_t, int64_t at) { return Load(dy + at); });
  SumLanes(features, lanes, by_gain, [&](int64_t f, int64_t at) {
    return Load(dy + at) * (Load(x + at) - norm.mean[f]);
  });
  for (int64_t f = 0; f < features; ++f) by_gain[f] *= norm.rate[f];
}

void ThroughNorm(int64_t features, Normalised norm, const float* x, float* dy, int64_t there,
                 int64_t lanes) {
  for (int64_t f = 0; f < features; ++f, x += lanes, dy += lanes) {
    const Vector factor = Vector{} + norm.factor[f], shift = Vector{} + norm.shift[f];
    const Vector slope = Vector{} + norm.slope[f], mean = Vector{} + norm.mean[f];
    for (int64_t lane = 0; lane < lanes; lane += kVector) {
      Store(dy + lane, factor * (Load(dy + lane) - shift - slope * (Load(x + lane) - mean)));
    }
    for (int64_t i = there; i < lanes; ++i) dy[i] = 0;
  }
}

}  // namespace
}  // namespace sparl
