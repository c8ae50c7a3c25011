// A batch cut into tiles (layer.h), and matrices [features, batch] copied to and from them.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "layer.h"

namespace sparl {

// The offsets, in every tile, of several groups of features of given sizes.
struct Tiling {
  Tiling(const std::vector<int64_t>& sizes, int64_t batch)
      : batch(batch), lanes(LanesFor(batch)), count((batch + lanes - 1) / lanes) {
    for (int64_t size : sizes) {
      offsets.push_back(features * lanes);
      features += size;
    }
  }

  // The tiles of the first samples alone, of a batch that is cut like this one.
  Tiling First(int64_t samples) const {
    Tiling some = *this;
    some.batch = samples, some.count = (samples + lanes - 1) / lanes;
    return some;
  }

  std::vector<int64_t> Core() const { return {count, features, lanes}; }
  // Samples in tile number t.
  int64_t There(int64_t t) const { return std::min(lanes, batch - t * lanes); }
  int64_t Stride() const { return features * lanes; }
  Tiles Of(size_t index, const float* data) const {
    return {data + offsets[index], Stride(), count, lanes};
  }

  int64_t batch, lanes, count, features = 0;
  std::vector<int64_t> offsets;
};

template <int64_t kTile>
void CopyWholeTile(const float* from, int64_t from_step, int64_t rows, float* to, int64_t to_step) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t lane = 0; lane < kTile; ++lane) to[r * to_step + lane] = from[r * from_step + lane];
  }
}

inline void CopyTile(const float* from, int64_t from_step, int64_t rows, int64_t width, float* to,
                     int64_t to_step) {
  if (width == kLanes) return CopyWholeTile<kLanes>(from, from_step, rows, to, to_step);
  if (width == kFewLanes) return CopyWholeTile<kFewLanes>(from, from_step, rows, to, to_step);
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_step, width, to + r * to_step);
}

// Where a tile's result is written: straight to the [rows, batch] matrix or, if the batch ends
// within the tile, to `spare`, from which FromTile copies the samples that exist.
struct Place {
  float* data;
  int64_t step;
};

inline Place PlaceFor(float* matrix, const Tiling& tiling, int64_t t, float* spare) {
  if ((t + 1) * tiling.lanes > tiling.batch) return {spare, tiling.lanes};
  return {matrix + t * tiling.lanes, tiling.batch};
}

// Copy a [rows, batch] matrix to and from tile number t; lanes beyond the batch are zero.
inline void IntoTile(const float* matrix, int64_t rows, const Tiling& tiling, int64_t t,
                     float* tile) {
  const int64_t lanes = tiling.lanes, there = tiling.There(t);
  if (there < lanes) std::fill_n(tile, rows * lanes, 0.0f);
  CopyTile(matrix + t * lanes, tiling.batch, rows, there, tile, lanes);
}

inline void FromTile(const float* tile, int64_t rows, const Tiling& tiling, int64_t t,
                     float* matrix) {
  const int64_t lanes = tiling.lanes, there = tiling.There(t);
  CopyTile(tile, lanes, rows, there, matrix + t * lanes, tiling.batch);
}

// Memory of the thread that outlives the call, so that small batches do not pay for allocation. It
// begins at a cache line, because a vector that lies across two lines is loaded twice.
inline float* Scratch(int64_t floats) {
  constexpr size_t kLine = 64;
  thread_local std::vector<float> memory;
  size_t room = floats * sizeof(float) + kLine;
  if (memory.size() * sizeof(float) < room) memory.resize(room / sizeof(float));
  void* begin = memory.data();
  return static_cast<float*>(std::align(kLine, floats * sizeof(float), begin, room));
}

}  // namespace sparl
