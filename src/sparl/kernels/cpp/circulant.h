// Packed rows of circulant blocks (spectra.h), as part of path.h. Products and gradients are
// computed among components. A block has G rows and columns. Rows and columns of the last blocks
// that lie outside the layer are read as zero and not written.
#pragma once

#include "gradients.h"
#include "layer.h"
#include "spectra.h"
#include "vectors.h"

namespace sparl {
namespace {

template <int64_t kTile, int64_t G>
void AnalyseBlock(const float* x, float* to) {
  for (int64_t lane = 0; lane < kTile; lane += kVector) {
    Vector block[G];
    for (int64_t t = 0; t < G; ++t) block[t] = Load(x + t * kTile + lane);
    Analyse<G>(block);
    for (int64_t m = 0; m < G; ++m) Store(to + m * kTile + lane, block[m]);
  }
}

template <int64_t kTile, int64_t G>
void AnalyseBlocks(int64_t features, const float* x, float* to) {
  int64_t at = 0;
  for (; at + G <= features; at += G) AnalyseBlock<kTile, G>(x + at * kTile, to + at * kTile);
  if (at < features) {
    float last[G * kTile] = {};
    for (int64_t i = 0; i < (features - at) * kTile; ++i) last[i] = x[at * kTile + i];
    AnalyseBlock<kTile, G>(last, to + at * kTile);
  }
}

// sums += a block times x.
template <int64_t kTile, int64_t G, int kPass>
inline void AddBlock(const float* spectrum, const float* x, Vector (*sums)[kPass]) {
  for (int64_t m = 0; m < 2; ++m) {
    for (int v = 0; v < kPass; ++v) sums[m][v] += spectrum[m] * Load(x + m * kTile + v * kVector);
  }
  for (int64_t m = 2; m < G; m += 2) {
    const float a = spectrum[m], b = spectrum[m + 1];
    for (int v = 0; v < kPass; ++v) {
      const Vector cosines = Load(x + m * kTile + v * kVector);
      const Vector sines = Load(x + (m + 1) * kTile + v * kVector);
      sums[m][v] += a * cosines;
      sums[m][v] += b * sines;
      sums[m + 1][v] += a * sines;
      sums[m + 1][v] -= b * cosines;
    }
  }
}

// kPass: how many vectors of a tile's lanes go through a row of blocks together. kSets: how many
// sets of sums for them fit into registers.
template <int64_t kTile, int64_t G>
struct Sums {
  static constexpr int kAll = kSums / G > 1 ? kSums / G : 1, kVectors = kTile / kVector;
  static constexpr int kPass = kVectors < kAll ? kVectors : kAll, kSets = kAll / kPass;
};

// y = finish(W x) for kRows rows of blocks that keep the same columns. x is in components, y is
// not.
template <int64_t kTile, int64_t G, int kRows, typename Finish>
void MultiplyBlockRows(int64_t first, int64_t rows, const float* spectra, const int32_t* columns,
                       const int32_t* starts, const float* x, float* y, int64_t step,
                       Finish finish) {
  constexpr int kPass = Sums<kTile, G>::kPass, kSets = Sums<kTile, G>::kSets / kRows;
  const int64_t count = starts[1] - starts[0];
  for (int64_t lane = 0; lane < kTile; lane += kPass * kVector) {
    // With several sets of sums, a multiply-add need not wait for the previous one.
    Vector sums[kSets][kRows][G][kPass] = {};
    const auto add = [&](int64_t k, int set) {
      const float* at = x + columns[starts[0] + k] * G * kTile + lane;
      for (int r = 0; r < kRows; ++r) {
        AddBlock<kTile, G, kPass>(spectra + (starts[r] + k) * G, at, sums[set][r]);
      }
    };
    int64_t k = 0;
    for (; k + kSets <= count; k += kSets) {
      for (int set = 0; set < kSets; ++set) add(k + set, set);
    }
    for (; k < count; ++k) add(k, 0);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kPass; ++v) {
        Vector block[G];
        for (int64_t m = 0; m < G; ++m) {
          block[m] = sums[0][r][m][v];
          for (int set = 1; set < kSets; ++set) block[m] += sums[set][r][m][v];
        }
        Synthesise<G>(block);
        const int64_t at = lane + v * kVector;
        for (int64_t t = 0; t < G; ++t) {
          const int64_t row = first + r * G + t;
          if (row < rows) Store(y + row * step + at, finish(block[t], row, kTile, at));
        }
      }
    }
  }
}

// Whether kRows rows of blocks keep the same columns.
template <int kRows>
bool Alike(const int32_t* columns, const int32_t* starts) {
  const int64_t count = starts[1] - starts[0];
  for (int r = 1; r < kRows; ++r) {
    if (starts[r + 1] - starts[r] != count) return false;
    for (int64_t k = 0; k < count; ++k) {
      if (columns[starts[r] + k] != columns[starts[0] + k]) return false;
    }
  }
  return true;
}

// y = finish(W x) for blocks row by row, or column by column; x is in components. Rows that keep
// the same columns (all do before anything is pruned) go together, so that x is loaded less often.
template <int64_t kTile, int64_t G, typename Finish>
void MultiplyCirculant(int64_t rows, const float* spectra, const int32_t* columns,
                       const int32_t* starts, const float* x, float* y, int64_t step,
                       Finish finish) {
  constexpr int kTogether = Sums<kTile, G>::kSets;
  int64_t first = 0;
  while (first < rows) {
    if (first + (kTogether - 1) * G < rows && Alike<kTogether>(columns, starts)) {
      MultiplyBlockRows<kTile, G, kTogether>(first, rows, spectra, columns, starts, x, y, step,
                                             finish);
      first += kTogether * G, starts += kTogether;
    } else {
      MultiplyBlockRows<kTile, G, 1>(first, rows, spectra, columns, starts, x, y, step, finish);
      first += G, ++starts;
    }
  }
}

// The gradients of the spectra of kBlocks blocks in one row of blocks, summed over all tiles, and
// added to what is there already if `add`. x and dy are in components.
template <int64_t kTile, int64_t G, int kBlocks>
__attribute__((always_inline)) inline void DotsOfBlocks(int64_t row, const int32_t* columns,
                                                        const Tiles& x, const Tiles& dy, float* to,
                                                        bool add) {
  Vector sums[kBlocks][G] = {};
  const float* right[kBlocks];
  for (int j = 0; j < kBlocks; ++j) right[j] = x.data + columns[j] * G * kTile;
  const float* left = dy.data + row * G * kTile;
  for (int64_t t = 0; t < x.count; ++t) {
    for (int64_t lane = 0; lane < kTile; lane += kVector) {
      for (int64_t m = 0; m < 2; ++m) {
        const int64_t at = m * kTile + lane;
        const Vector factor = Load(left + at);
        for (int j = 0; j < kBlocks; ++j) sums[j][m] += factor * Load(right[j] + at);
      }
      for (int64_t m = 2; m < G; m += 2) {
        const int64_t at = m * kTile + lane;
        const Vector of_cosines = Load(left + at), of_sines = Load(left + at + kTile);
        for (int j = 0; j < kBlocks; ++j) {
          const Vector cosines = Load(right[j] + at), sines = Load(right[j] + at + kTile);
          sums[j][m] += of_cosines * cosines;
          sums[j][m] += of_sines * sines;
          sums[j][m + 1] += of_cosines * sines;
          sums[j][m + 1] -= of_sines * cosines;
        }
      }
    }
    for (int j = 0; j < kBlocks; ++j) right[j] += x.stride;
    left += dy.stride;
  }
  TotalInto<kBlocks, G>(sums[0], to, G, add);
}

// dW and db for the rows of blocks first..end. They are summed as components and converted at the
// end.
template <int64_t kTile, int64_t G>
void GradientCirculant(const Layer& layer, int64_t first, int64_t end, Tiles x, Tiles dy,
                       float* dweight, float* dbias) {
  constexpr int kAtOnce = kSums / G > 1 ? kSums / G : 1;
  const auto visit = [columns = layer.columns, dweight](int64_t row, int64_t k, int64_t run_end,
                                                        const Tiles& some_x, const Tiles& some_dy,
                                                        auto adds) {
    for (; k + kAtOnce <= run_end; k += kAtOnce) {
      float* const to = dweight + k * G;
      DotsOfBlocks<kTile, G, kAtOnce>(row, columns + k, some_x, some_dy, to, adds.value);
    }
    for (; k < run_end; ++k) {
      DotsOfBlocks<kTile, G, 1>(row, columns + k, some_x, some_dy, dweight + k * G, adds.value);
    }
  };
  ForEachRun<kTile, 16, 8192>(layer, first, end, x, dy, visit);
  const auto back = [](float* components) { Scale<G>(components), Synthesise<G>(components); };
  for (int64_t k = layer.row_starts[first]; k < layer.row_starts[end]; ++k) back(dweight + k * G);
  for (int64_t row = first; row < end; ++row) {
    float sums[G];
    for (int64_t m = 0; m < G; ++m) sums[m] = SumOverBatch<kTile>(row * G + m, dy);
    back(sums);
    for (int64_t t = 0; dbias && t < G && row * G + t < layer.outputs; ++t) {
      dbias[row * G + t] = sums[t];
    }
  }
}

}  // namespace
}  // namespace sparl
