// A network as the kernels see it: its layers, what each of them reads, and where they lie in two
// arrays.
//
// The array `values` has weights (dense [outputs, inputs], packed [kept], circulant [kept, group],
// packed rows that share their columns [outputs, columns of each])
// and biases, layer by layer, then gain, shift, mean and variance of each layer whose sums have a
// batch norm, and then those of each layer whose inputs have one. The array `indices` has columns, row_starts, rows, column_starts and order of each layer
// that is not dense.
//
// What a network computes on the way is called a *value*, too: value 0 is its input, value l + 1
// the output of layer l. A layer's input is a concatenation of values, and so is the network's
// output.
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
  static constexpr int64_t kMostShare = 16;

  // The inputs of a layer from `feature` on.
  struct Use {
    size_t layer;
    int64_t feature;
  };

  // `code` begins with the number of inputs, the number of values that are the network's output,
  // and these values. Each layer follows with its outputs, its kept places (-1 if it is dense), the
  // size of its circulant blocks (1 without), how many of its rows share their columns (1 without;
  // places are then counted once for them), its activation, whether its sums have
  // a batch norm (1 or 0), whether its inputs have one, the number of values that it reads, and
  // these values.
  explicit Form(Span code) { error_ = Read(code); }

  // What is wrong with the code; empty if nothing is.
  const std::string& error() const { return error_; }
  size_t depth() const { return kept_.size(); }
  // Features of each value.
  const std::vector<int64_t>& widths() const { return widths_; }
  Activation activation(size_t l) const { return activations_[l]; }
  bool normed(size_t l) const { return normed_[l]; }
  bool input_normed(size_t l) const { return input_normed_[l]; }
  bool any_normed() const { return norms_ < values_; }
  // Features of the network's output.
  int64_t outputs() const { return outputs_; }
  int64_t inputs(size_t l) const { return inputs_[l]; }
  // The values that a layer reads.
  const std::vector<size_t>& Reads(size_t l) const { return reads_[l]; }
  // Where a value is read, in the order of layers and of what they read.
  const std::vector<Use>& Uses(size_t value) const { return uses_[value]; }
  // Where a value begins in the network's output; once for each time that it occurs there.
  const std::vector<int64_t>& Given(size_t value) const { return given_[value]; }
  // Whether no layer reads a value. It then occurs once in the output.
  bool End(size_t value) const { return uses_[value].empty(); }
  // Whether a value is kept on the tape. Ends whose activation needs no slope are not.
  bool Kept(size_t value) const { return !End(value) || activations_[value - 1] != kNone; }
  // Where a value is written: where it is first read, or among the ends that are kept.
  Use Home(size_t value) const {
    return End(value) ? Use{depth(), ends_[value]} : uses_[value].front();
  }
  // Whether a layer reads a single value that is used nowhere else.
  bool Alone(size_t l) const {
    const size_t value = reads_[l].front();
    return reads_[l].size() == 1 && uses_[value].size() == 1 && given_[value].empty();
  }

  // The most inputs or outputs of any layer, with its last blocks taken as whole.
  int64_t widest() const {
    int64_t most = 0;
    for (size_t l = 0; l < depth(); ++l) {
      const Layer layer = Outline(l);
      most = std::max({most, layer.whole_inputs(), layer.whole_outputs()});
    }
    return most;
  }
  // Features of the tape: the inputs of each layer, all ends that slopes are computed from, the
  // sigmoids of each layer with swish, and the inputs of each layer that normalises them before it
  // does. See forward.cpp.
  std::vector<int64_t> Taped() const {
    std::vector<int64_t> features = inputs_;
    features.push_back(kept_of_ends_);
    for (size_t l = 0; l < depth(); ++l) {
      features.push_back(activations_[l] == kSwish ? widths_[l + 1] : 0);
    }
    for (size_t l = 0; l < depth(); ++l) features.push_back(input_normed_[l] ? inputs_[l] : 0);
    return features;
  }
  // Features that the gradients of values are made from: the deltas of each layer, and the inputs,
  // in components, of each layer with circulant blocks. See backward.cpp.
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
  // Where the numbers of all batch norms begin, and those of a layer's.
  int64_t norms() const { return norms_; }
  int64_t NormOf(size_t l) const { return norm_offsets_[l]; }
  int64_t InputNormOf(size_t l) const { return input_norm_offsets_[l]; }

  // The layers of one network. Checks the indices by row and, if `both_ways`, those by column.
  ffi::Error Layers(const float* values, const int32_t* indices, bool both_ways,
                    std::vector<Layer>* found) const {
    found->clear();
    for (size_t l = 0; l < depth(); ++l) {
      Layer layer = Outline(l);
      layer.weight = values + value_offsets_[l], layer.bias = layer.weight + layer.weights();
      if (normed_[l]) layer.norm = values + norm_offsets_[l];
      if (input_normed_[l]) layer.input_norm = values + input_norm_offsets_[l];
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
        for (int64_t r = 0; layer.shared() && r <= rows; ++r) {
          if (layer.row_starts[r] != r * layer.per_group()) {
            return ffi::Error::InvalidArgument(Name(l) + "rows that share their columns must all "
                                               "keep the same number");
          }
        }
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

  // Reads `code` up to the first mistake. Returns what is wrong, or an empty string.
  std::string Read(Span code) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    if (code.size() == 0 || code[0] < 0 || code[0] > kMost) return "no network has such inputs";
    widths_.push_back(code[0]);
    const int64_t gives = code.size() > 1 ? code[1] : 0;
    if (gives < 1 || gives > static_cast<int64_t>(code.size()) - 2) {
      return "what the network gives is cut short";
    }
    for (size_t at = 2 + gives; at < code.size();) {
      const size_t l = depth();
      if (code.size() - at < 8) return Name(l) + "its form is cut short";
      const int64_t outputs = code[at], kept = code[at + 1], group = code[at + 2];
      const int64_t share = code[at + 3], activation = code[at + 4], normed = code[at + 5];
      const int64_t input_normed = code[at + 6], count = code[at + 7];
      at += 8;
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
      if (share < 1 || share > kMostShare || (share > 1 && (kept == kDense || group > 1))) {
        return Name(l) + "from 1 to 16 packed rows share their columns, not " +
               std::to_string(share);
      }
      if (outputs < 0 || kept < kDense || std::max({inputs, outputs, kept}) > kMost) {
        return Name(l) + "no layer has this many inputs, outputs or kept weights";
      }
      if (activation < kNone || activation > kTanh) {
        return Name(l) + "there is no activation " + std::to_string(activation);
      }
      if ((normed != 0 && normed != 1) || (input_normed != 0 && input_normed != 1)) {
        return Name(l) + "it has a batch norm or it has none";
      }
      inputs_.push_back(inputs);
      widths_.push_back(outputs);
      kept_.push_back(kept);
      groups_.push_back(group);
      shares_.push_back(share);
      activations_.push_back(static_cast<Activation>(activation));
      normed_.push_back(normed);
      input_normed_.push_back(input_normed);
      value_offsets_.push_back(values_);
      index_offsets_.push_back(indices_);
      const Layer layer = Outline(l);
      if (share > 1 && layer.kept != layer.per_group() * layer.block_rows()) {
        return Name(l) + "rows that share their columns must all keep the same number";
      }
      if (share > 1 && layer.weights() > kMost) return Name(l) + "no layer has this many weights";
      values_ += layer.weights() + outputs;
      if (kept != kDense) {
        indices_ += 3 * layer.kept + layer.block_rows() + 1 + layer.block_columns() + 1;
      }
    }
    if (depth() == 0) return "no network is without layers";
    norms_ = values_;
    for (size_t l = 0; l < depth(); ++l) {
      norm_offsets_.push_back(values_);
      if (normed_[l]) values_ += 4 * widths_[l + 1];
    }
    for (size_t l = 0; l < depth(); ++l) {
      input_norm_offsets_.push_back(values_);
      if (input_normed_[l]) values_ += 4 * inputs_[l];
    }
    uses_.emplace_back();
    return ReadGiven(Span(code.begin() + 2, gives));
  }

  // Reads which values are the network's output.
  std::string ReadGiven(Span gives) {
    given_.resize(depth() + 1);
    for (int64_t value : gives) {
      if (value < 0 || value > static_cast<int64_t>(depth())) {
        return "value " + std::to_string(value) + " is given, and there are 0.." +
               std::to_string(depth());
      }
      given_[value].push_back(outputs_);
      outputs_ += widths_[value];
    }
    for (size_t value = 0; value <= depth(); ++value) {
      ends_.push_back(kept_of_ends_);
      if (!End(value)) continue;
      const std::string name = "value " + std::to_string(value);
      if (given_[value].empty()) return name + " is read by no layer and not given";
      if (given_[value].size() > 1) return name + " is read by no layer and given more than once";
      if (Kept(value)) kept_of_ends_ += widths_[value];
    }
    return "";
  }

  // A layer without its arrays.
  Layer Outline(size_t l) const {
    Layer layer;
    layer.inputs = inputs_[l], layer.outputs = widths_[l + 1], layer.group = groups_[l];
    layer.share = shares_[l];
    layer.kept = kept_[l] == kDense ? layer.inputs * layer.outputs : kept_[l];
    return layer;
  }

  std::vector<int64_t> widths_, inputs_, kept_, groups_, shares_, value_offsets_;
  std::vector<int64_t> norm_offsets_, input_norm_offsets_, index_offsets_, ends_;
  std::vector<Activation> activations_;
  std::vector<std::vector<size_t>> reads_;
  std::vector<std::vector<Use>> uses_;
  std::vector<std::vector<int64_t>> given_;
  std::vector<bool> normed_, input_normed_;
  int64_t values_ = 0, norms_ = 0, indices_ = 0, outputs_ = 0, kept_of_ends_ = 0;
  std::string error_;
};

}  // namespace sparl
