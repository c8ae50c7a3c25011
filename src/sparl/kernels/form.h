// What a network is to the kernels: its layers, what each of them reads, and where in two arrays
// they lie.
//
// `values` has, layer after layer, the weights (dense [outputs, inputs], packed [kept], circulant
// [kept, group]) and the biases; `indices`, for each layer that is not dense, columns, row_starts,
// rows, column_starts and order. What a network computes on the way are *values* too: number 0 is
// its input, number l + 1 what layer l gives. A layer's inputs are some of them, one behind the
// other.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "layer.h"
#include "packed_rows.h"

namespace sparl {

using Span = ffi::Span<const int64_t>;

class Form {
 public:
  static constexpr int64_t kDense = -1;

  // Of a layer's inputs, those from `feature` on.
  struct Use {
    size_t layer;
    int64_t feature;
  };

  // `code` has the inputs, and of each layer the outputs, the stored weights, or blocks (-1 if it is
  // dense), the size of its circulant blocks (1 where there are none), the activation, how many
  // values it reads, and which.
  explicit Form(Span code) { error_ = Read(code); }

  // Empty if there is nothing wrong with it.
  const std::string& error() const { return error_; }
  size_t depth() const { return kept_.size(); }
  // Features of each value.
  const std::vector<int64_t>& widths() const { return widths_; }
  Activation activation(size_t l) const { return activations_[l]; }
  // The values that a layer reads.
  const std::vector<size_t>& Reads(size_t l) const { return reads_[l]; }
  // Where a value is read, in the order of layers and of what they read.
  const std::vector<Use>& Uses(size_t value) const { return uses_[value]; }
  // Where a value is written: where it is first read. What the network gives is read by no layer.
  Use Home(size_t value) const { return value < depth() ? uses_[value].front() : Use{depth(), 0}; }
  // Whether a layer reads one value, and no other layer does.
  bool Alone(size_t l) const {
    return reads_[l].size() == 1 && uses_[reads_[l].front()].size() == 1;
  }

  // The most features that one layer takes or gives, its blocks being whole.
  int64_t widest() const {
    int64_t most = 0;
    for (size_t l = 0; l < depth(); ++l) {
      const Layer layer = Outline(l);
      most = std::max({most, layer.whole_inputs(), layer.whole_outputs()});
    }
    return most;
  }
  // Features of the tape: of each layer its inputs; what the network gives, where that tells the
  // last activation's slope; and of each layer the sigmoids, where these do. See forward.cpp.
  std::vector<int64_t> Taped() const {
    std::vector<int64_t> features = inputs_;
    features.push_back(activations_.back() == kNone ? 0 : widths_.back());
    for (size_t l = 0; l < depth(); ++l) {
      features.push_back(activations_[l] == kSwish ? widths_[l + 1] : 0);
    }
    return features;
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

  // Takes `code` in, as far as it is right; answers with what is wrong.
  std::string Read(Span code) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (code.size() == 0 || code[0] < 0 || code[0] > kMost) return "no network has such inputs";
    widths_.push_back(code[0]);
    for (size_t at = 1; at < code.size();) {
      const size_t l = depth();
      if (code.size() - at < 5) return Name(l) + "its form is cut short";
      const int64_t outputs = code[at], kept = code[at + 1], group = code[at + 2];
      const int64_t activation = code[at + 3], count = code[at + 4];
      at += 5;
      if (count < 1 || count > static_cast<int64_t>(code.size() - at)) {
        return Name(l) + "its form is cut short";
      }
      int64_t inputs = 0;
      reads_.emplace_back();
      uses_.emplace_back();
      for (const size_t end = at + count; at < end; ++at) {
        if (code[at] < 0 || code[at] > static_cast<int64_t>(l)) {
          return Name(l) + "it reads value " + std::to_string(code[at]) + ", and there are 0.." +
                 std::to_string(l);
        }
        const size_t value = code[at];
        reads_[l].push_back(value);
        uses_[value].push_back({l, inputs});
        inputs += widths_[value];
      }
      const bool possible = group == 2 || group == 4 || group == 8 || group == 16;
      if (group != 1 && !possible) {
        return Name(l) + "blocks have 2, 4, 8 or 16 rows, not " + std::to_string(group);
      }
      if (group != 1 && kept == kDense) return Name(l) + "a dense layer has no blocks";
      if (outputs < 0 || kept < kDense || std::max({inputs, outputs, kept}) > kMost) {
        return Name(l) + "no layer has this many inputs, outputs or kept weights";
      }
      if (activation < kNone || activation > kTanh) {
        return Name(l) + "there is no activation " + std::to_string(activation);
      }
      inputs_.push_back(inputs);
      widths_.push_back(outputs);
      kept_.push_back(kept);
      groups_.push_back(group);
      activations_.push_back(static_cast<Activation>(activation));
      value_offsets_.push_back(values_);
      index_offsets_.push_back(indices_);
      const Layer layer = Outline(l);
      values_ += layer.weights() + outputs;
      if (kept != kDense) {
        indices_ += 3 * layer.kept + layer.block_rows() + 1 + layer.block_columns() + 1;
      }
    }
    if (depth() == 0) return "no network is without layers";
    for (size_t value = 0; value < depth(); ++value) {
      if (uses_[value].empty()) return "value " + std::to_string(value) + " is read by no layer";
    }
    return "";
  }

  // A layer without its arrays.
  Layer Outline(size_t l) const {
    Layer layer;
    layer.inputs = inputs_[l], layer.outputs = widths_[l + 1], layer.group = groups_[l];
    layer.kept = kept_[l] == kDense ? layer.inputs * layer.outputs : kept_[l];
    return layer;
  }

  std::vector<int64_t> widths_, inputs_, kept_, groups_, value_offsets_, index_offsets_;
  std::vector<Activation> activations_;
  std::vector<std::vector<size_t>> reads_;
  std::vector<std::vector<Use>> uses_;
  int64_t values_ = 0, indices_ = 0;
  std::string error_;
};

}  // namespace sparl
