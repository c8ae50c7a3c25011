// The tape of a network, tile by tile: a value is written where it is first read, and copied from
// there to where it is read again (form.h).
#pragma once

#include "form.h"
#include "tiling.h"

namespace sparl {

// Where a use of a value begins in a tile of the tape.
inline int64_t At(const Tiling& taped, Form::Use use) {
  return taped.offsets[use.layer] + use.feature * taped.lanes;
}

// Copies a value of tile number t from its home to wherever else it is read, and to its places in
// y.
inline void Share(const Form& form, const Tiling& taped, size_t value, int64_t t, float* tile,
                  float* y) {
  const float* const home = tile + At(taped, form.Home(value));
  const int64_t width = form.widths()[value];
  const auto& uses = form.Uses(value);
  for (size_t u = 1; u < uses.size(); ++u) {
    std::copy_n(home, width * taped.lanes, tile + At(taped, uses[u]));
  }
  for (int64_t row : form.Given(value)) FromTile(home, width, taped, t, y + row * taped.batch);
}

}  // namespace sparl
