// The operands of the kernels: shapes and indices are checked before anything is touched.
//
// All operands may carry the same leading dimensions, a batch of networks; one of which a leading
// dimension is 1 serves all of them (vmap's "expand_dims").
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "layer.h"
#include "packed_rows.h"

namespace sparl {

using Span = ffi::Span<const int64_t>;

inline int64_t Count(Dimensions batch) {
  int64_t count = 1;
  for (int64_t size : batch) count *= size;
  return count;
}

// The leading dimensions of a result whose own are the last `core` ones.
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

// Takes arrays in order; the first that does not fit is remembered and the rest are not looked at.
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

// How two arrays make a network: `values`, layer after layer the weights (dense [outputs, inputs],
// packed [kept]) and the biases, and `indices`, for each packed layer columns, row_starts, rows,
// column_starts and order. `widths` are inputs, hidden widths and outputs; `kept` has the stored
// weights of each packed layer, and -1 for each dense one.
class Form {
 public:
  static constexpr int64_t kDense = -1;

  Form(Span widths, Span kept)
      : widths_(widths.begin(), widths.end()), kept_(kept.begin(), kept.end()) {
    if (kept.size() == 0 || widths.size() != kept.size() + 1) {
      error_ = std::to_string(kept.size()) + " layers need one more width, not " +
               std::to_string(widths.size());
      return;
    }
    for (size_t l = 0; l < depth(); ++l) {
      const int64_t inputs = widths_[l], outputs = widths_[l + 1];
      const bool packed = kept_[l] != kDense;
      if (inputs < 0 || outputs < 0 || kept_[l] < kDense ||
          std::max({inputs, outputs, kept_[l]}) > std::numeric_limits<int32_t>::max()) {
        error_ = Name(l) + "no layer has this many inputs, outputs or kept weights";
        return;
      }
      value_offsets_.push_back(values_);
      index_offsets_.push_back(indices_);
      values_ += Weights(l) + outputs;
      if (packed) indices_ += 3 * kept_[l] + outputs + 1 + inputs + 1;
    }
  }

  // Empty if there is nothing wrong with it.
  const std::string& error() const { return error_; }
  size_t depth() const { return kept_.size(); }
  const std::vector<int64_t>& widths() const { return widths_; }
  int64_t widest() const { return *std::max_element(widths_.begin(), widths_.end()); }
  int64_t values() const { return values_; }
  int64_t indices() const { return indices_; }
  int64_t Weights(size_t l) const {
    return kept_[l] == kDense ? widths_[l] * widths_[l + 1] : kept_[l];
  }
  // Where a layer's weights begin among the values; its biases follow them.
  int64_t ValuesOf(size_t l) const { return value_offsets_[l]; }

  // The layers of one network, after a check of the indices by row, and by column if `both_ways`.
  ffi::Error Layers(const float* values, const int32_t* indices, bool both_ways,
                    std::vector<Layer>* found) const {
    found->clear();
    for (size_t l = 0; l < depth(); ++l) {
      Layer layer;
      layer.inputs = widths_[l], layer.outputs = widths_[l + 1], layer.kept = Weights(l);
      layer.weight = values + value_offsets_[l], layer.bias = layer.weight + layer.kept;
      if (kept_[l] != kDense) {
        layer.columns = indices + index_offsets_[l];
        layer.row_starts = layer.columns + layer.kept;
        layer.rows = layer.row_starts + layer.outputs + 1;
        layer.column_starts = layer.rows + layer.kept;
        layer.order = layer.column_starts + layer.inputs + 1;
        ffi::Error error = CheckStarts(Name(l) + "row_starts", layer.row_starts, layer.outputs,
                                       layer.kept);
        if (error.failure()) return error;
        if (!InRange(layer.columns, layer.kept, layer.inputs)) {
          return ffi::Error::InvalidArgument(Name(l) + "a column is outside 0.." +
                                             std::to_string(layer.inputs - 1));
        }
        if (both_ways) {
          error = CheckStarts(Name(l) + "column_starts", layer.column_starts, layer.inputs,
                              layer.kept);
          if (error.failure()) return error;
          if (!InRange(layer.rows, layer.kept, layer.outputs) ||
              !InRange(layer.order, layer.kept, layer.kept)) {
            return ffi::Error::InvalidArgument(Name(l) + "the column-wise indices point outside");
          }
        }
      }
      found->push_back(layer);
    }
    return ffi::Error::Success();
  }

 private:
  static std::string Name(size_t l) { return "layer " + std::to_string(l) + ": "; }

  std::vector<int64_t> widths_, kept_, value_offsets_, index_offsets_;
  int64_t values_ = 0, indices_ = 0;
  std::string error_;
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
