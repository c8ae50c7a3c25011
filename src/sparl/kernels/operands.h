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
// packed [kept], circulant [kept, group]) and the biases, and `indices`, for each layer that is not
// dense columns, row_starts, rows, column_starts and order. `widths` are inputs, hidden widths and
// outputs; `kept` has the stored weights, or blocks, of each layer, and -1 for a dense one; `groups`
// has the size of each layer's circulant blocks, and 1 where there are none.
class Form {
 public:
  static constexpr int64_t kDense = -1;

  Form(Span widths, Span kept, Span groups)
      : widths_(widths.begin(), widths.end()),
        kept_(kept.begin(), kept.end()),
        groups_(groups.begin(), groups.end()) {
    if (kept.size() == 0 || widths.size() != kept.size() + 1) {
      error_ = std::to_string(kept.size()) + " layers need one more width, not " +
               std::to_string(widths.size());
      return;
    }
    if (groups.size() != kept.size()) {
      error_ = std::to_string(kept.size()) + " layers need as many groups, not " +
               std::to_string(groups.size());
      return;
    }
    for (size_t l = 0; l < depth(); ++l) {
      const int64_t inputs = widths_[l], outputs = widths_[l + 1], group = groups_[l];
      const bool possible = group == 2 || group == 4 || group == 8 || group == 16;
      if (group != 1 && (!possible || kept_[l] == kDense)) {
        error_ = possible ? "a dense layer has no blocks"
                          : "blocks have 2, 4, 8 or 16 rows, not " + std::to_string(group);
        error_ = Name(l) + error_;
        return;
      }
      if (inputs < 0 || outputs < 0 || kept_[l] < kDense ||
          std::max({inputs, outputs, kept_[l]}) > std::numeric_limits<int32_t>::max()) {
        error_ = Name(l) + "no layer has this many inputs, outputs or kept weights";
        return;
      }
      value_offsets_.push_back(values_);
      index_offsets_.push_back(indices_);
      const Layer layer = Outline(l);
      values_ += layer.weights() + outputs;
      if (kept_[l] != kDense) {
        indices_ += 3 * layer.kept + layer.block_rows() + 1 + layer.block_columns() + 1;
      }
    }
  }

  // Empty if there is nothing wrong with it.
  const std::string& error() const { return error_; }
  size_t depth() const { return kept_.size(); }
  const std::vector<int64_t>& widths() const { return widths_; }
  // The most features that one layer takes or gives, its blocks being whole.
  int64_t widest() const {
    int64_t most = 0;
    for (size_t l = 0; l < depth(); ++l) {
      const Layer layer = Outline(l);
      most = std::max({most, layer.whole_inputs(), layer.whole_outputs()});
    }
    return most;
  }
  // Features of the tape, from the network's inputs on; see forward.cpp.
  std::vector<int64_t> Taped(bool relu_last) const {
    return {widths_.begin(), widths_.end() - !relu_last};
  }
  // Features that the gradients of values are made from: for each layer the deltas, and for each
  // layer its inputs in components, if it has circulant blocks; see backward.cpp.
  std::vector<int64_t> Deltas() const {
    std::vector<int64_t> features(2 * depth(), 0);
    for (size_t l = 0; l < depth(); ++l) {
      const Layer layer = Outline(l);
      features[l] = layer.whole_outputs();
      if (layer.circulant()) features[depth() + l] = layer.whole_inputs();
    }
    return features;
  }
  int64_t values() const { return values_; }
  int64_t indices() const { return indices_; }
  // Where a layer's weights begin among the values; its biases follow them.
  int64_t ValuesOf(size_t l) const { return value_offsets_[l]; }

  // The layers of one network, after a check of the indices by row, and by column if `both_ways`.
  ffi::Error Layers(const float* values, const int32_t* indices, bool both_ways,
                    std::vector<Layer>* found) const {
    found->clear();
    for (size_t l = 0; l < depth(); ++l) {
      Layer layer = Outline(l);
      layer.weight = values + value_offsets_[l], layer.bias = layer.weight + layer.weights();
      if (kept_[l] != kDense) {
        const int64_t rows = layer.block_rows(), columns = layer.block_columns();
        layer.columns = indices + index_offsets_[l];
        layer.row_starts = layer.columns + layer.kept;
        layer.rows = layer.row_starts + rows + 1;
        layer.column_starts = layer.rows + layer.kept;
        layer.order = layer.column_starts + columns + 1;
        ffi::Error error = CheckStarts(Name(l) + "row_starts", layer.row_starts, rows,
                                       layer.kept);
        if (error.failure()) return error;
        if (!InRange(layer.columns, layer.kept, columns)) {
          return ffi::Error::InvalidArgument(Name(l) + "a column is outside 0.." +
                                             std::to_string(columns - 1));
        }
        if (both_ways) {
          error = CheckStarts(Name(l) + "column_starts", layer.column_starts, columns,
                              layer.kept);
          if (error.failure()) return error;
          if (!InRange(layer.rows, layer.kept, rows) ||
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

  // A layer without its arrays.
  Layer Outline(size_t l) const {
    Layer layer;
    layer.inputs = widths_[l], layer.outputs = widths_[l + 1], layer.group = groups_[l];
    layer.kept = kept_[l] == kDense ? layer.inputs * layer.outputs : kept_[l];
    return layer;
  }

  std::vector<int64_t> widths_, kept_, groups_, value_offsets_, index_offsets_;
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
