// The tape of a network, tile by tile: a value is written where it is first read, and copied from
// there to where it is read again (form.h). Where a layer normalises what it reads, that is beside
// the layer's inputs, so that slopes are computed from the value itself.
#pragma once

#include "form.h"
#include "tiling.h"

namespace sparl {

// Where what a layer reads begins in a tile of the tape, before the layer has normalised it.
inline int64_t ReadBy(const Form& form, const Tiling& taped, size_t layer) {
  const bool beside = layer < form.depth() && form.input_normed(layer);
  return taped.offsets[beside ? 2 * form.depth() + 1 + layer : layer];
}

// Where a use of a value begins in a tile of the tape.
inline int64_t At(const Form& form, const Tiling& taped, Form::Use use) {
  return ReadBy(form, taped, use.layer) + use.feature * taped.lanes;
}

// Copies a value of tile number t from its home to wherever else it is read, and to its places in
// y, if that has any of its samples.
inline void Share(const Form& form, const Tiling& taped, size_t value, int64_t t, float* tile,
                  float* y) {
  const float* const home = tile + At(form, taped, form.Home(value));
  const int64_t width = form.widths()[value];
  const auto& uses = form.Uses(value);
  for (size_t u = 1; u < uses.size(); ++u) {
    std::copy_n(home, width * taped.lanes, tile + At(form, taped, uses[u]));
  }
  if (t >= taped.count) return;
  for (int64_t row : form.Given(value)) FromTile(home, width, taped, t, y + row * taped.batch);
}

}  // namespace sparl
