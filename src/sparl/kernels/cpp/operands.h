// The operands of the kernels: shapes and indices are checked before anything else is read or
// written.
//
// All operands may have the same leading dimensions, which are a batch of networks. An operand
// whose leading dimension is 1 serves all networks (vmap's "expand_dims").
#pragma once

#include <string>
#include <vector>

#include "form.h"
#include "packed_rows.h"

namespace sparl {

inline int64_t Count(Dimensions batch) {
  int64_t count = 1;
  for (int64_t size : batch) count *= size;
  return count;
}

// The leading dimensions of a result, of which the last `core` dimensions are those of one network.
inline Dimensions BatchOf(Dimensions result, size_t core) {
  return result.first(result.size() < core ? 0 : result.size() - core);
}

inline std::string Shape(Dimensions dims) {
  std::string text = "[";
  for (size_t d = 0; d < dims.size(); ++d) {
    text += (d ? ", " : "") + std::to_string(dims[d]);
  }
  return text + "]";
}

// A buffer of one array per network of the batch.
template <typename T>
struct Stack {
  T* data = nullptr;
  Dimensions dims;
  Dimensions batch;
  int64_t size = 0;  // of one network's array

  T* At(int64_t network) const {
    return data + BatchPosition(dims.first(batch.size()), batch, network) * size;
  }
};

// Takes arrays in order, and remembers the first one that does not fit.
class Reader {
 public:
  Reader(Dimensions batch) : batch_(batch) {}

  template <typename T, typename Buffer>
  Stack<T> Take(const Buffer& buffer, const char* name, std::vector<int64_t> core) {
    Stack<T> stack{buffer.typed_data(), buffer.dimensions(), batch_, 1};
    for (int64_t size : core) stack.size *= size;
    bool fits = FitsBatch(stack.dims, core.size(), batch_);
    for (size_t d = 0; fits && d < core.size(); ++d) fits = stack.dims[batch_.size() + d] == core[d];
    if (!fits && error_.success()) {
      error_ = ffi::Error::InvalidArgument(std::string(name) + " has shape " + Shape(stack.dims) +
                                           ", it must end with " +
                                           Shape(Dimensions(core.data(), core.size())));
    }
    return stack;
  }

  bool ok() const { return error_.success(); }
  ffi::Error error() const { return error_; }

 private:
  Dimensions batch_;
  ffi::Error error_;
};

// The layers of every network of a batch.
using Networks = std::vector<std::vector<Layer>>;

inline ffi::Error ReadNetworks(const Form& form, Reader& reader, Floats values, Indices indices,
                               int64_t count, bool both_ways, Networks* networks) {
  const auto numbers = reader.Take<const float>(values, "values", {form.values()});
  const auto places = reader.Take<const int32_t>(indices, "indices", {form.indices()});
  if (!reader.ok()) return reader.error();
  networks->resize(count);
  for (int64_t n = 0; n < count; ++n) {
    ffi::Error error = form.Layers(numbers.At(n), places.At(n), both_ways, &(*networks)[n]);
    if (error.failure()) return error;
  }
  return ffi::Error::Success();
}

}  // namespace sparl
