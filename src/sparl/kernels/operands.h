// The operands of the network kernels: a network's layers out of a list of buffers, every shape and
// every index checked before it is used.
//
// A network's widths (inputs, hidden ..., outputs) and which of its layers are packed come as
// attributes. Operands come layer by layer; which of a layer's arrays a kernel needs is its own
// matter (`Needs`). All operands may carry the same leading dimensions, a batch of networks; one
// whose leading dimension is 1 serves all of them (vmap's "expand_dims").
#pragma once

#include <string>
#include <vector>

#include "layer.h"
#include "packed_rows.h"

namespace sparl {

using Span = ffi::Span<const int64_t>;

struct Needs {
  bool weight, bias, by_row, by_column;
};

inline int64_t Count(Dimensions batch) {
  int64_t count = 1;
  for (int64_t size : batch) count *= size;
  return count;
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

  T* At(int64_t network) const { return data + BatchPosition(Leading(), batch, network) * size; }
  Dimensions Leading() const { return dims.first(batch.size()); }
};

// Takes arrays in order; the first that does not fit is remembered and the rest are not looked at.
class Reader {
 public:
  Reader(Dimensions batch) : batch_(batch) {}

  template <typename T, typename Buffer>
  Stack<T> Take(const Buffer& buffer, const std::string& name, std::vector<int64_t> core) {
    Stack<T> stack{buffer.typed_data(), buffer.dimensions(), batch_, 1};
    for (int64_t size : core) stack.size *= size;
    const Dimensions dims = stack.dims;
    bool fits = FitsBatch(dims, core.size(), batch_);
    for (size_t d = 0; fits && d < core.size(); ++d) fits = dims[batch_.size() + d] == core[d];
    if (!fits) {
      Fail(name + " has shape " + Shape(dims) + ", it must end with " +
           Shape(Dimensions(core.data(), core.size())));
    }
    return stack;
  }

  void Fail(const std::string& message) {
    if (error_.success()) error_ = ffi::Error::InvalidArgument(message);
  }
  bool ok() const { return error_.success(); }
  ffi::Error error() const { return error_; }

 private:
  Dimensions batch_;
  ffi::Error error_;
};

// All layers of a batch of networks.
class Network {
 public:
  Network(Reader& reader, ffi::RemainingArgs arguments, size_t first, Span widths, Span packed,
          Needs needs)
      : layers_(packed.size()) {
    if (packed.size() == 0 || widths.size() != packed.size() + 1) {
      reader.Fail(std::to_string(packed.size()) + " layers need one more width, not " +
                  std::to_string(widths.size()));
      return;
    }
    size_t next = first;
    for (size_t l = 0; l < layers_.size() && reader.ok(); ++l) {
      Stacks& layer = layers_[l];
      const std::string name = "layer " + std::to_string(l) + ": ";
      const int64_t inputs = widths[l], outputs = widths[l + 1];
      auto floats = [&](const char* what, std::vector<int64_t> core) {
        const auto buffer = arguments.get<Floats>(next++);
        if (buffer.has_error()) return reader.Fail(name + what + " is missing"), Stack<float>{};
        return reader.Take<float>(*buffer, name + what, std::move(core));
      };
      auto indices = [&](const char* what, int64_t size) {
        const auto buffer = arguments.get<Indices>(next++);
        if (buffer.has_error()) return reader.Fail(name + what + " is missing"), Stack<int32_t>{};
        // The first array of packed rows tells how many values are kept.
        if (size < 0 && buffer->dimensions().size() > 0) size = buffer->dimensions().back();
        return reader.Take<int32_t>(*buffer, name + what, {size});
      };
      layer.shape.outputs = outputs, layer.shape.inputs = inputs;
      layer.packed = packed[l] != 0;
      if (!layer.packed) {
        if (needs.weight) layer.weight = floats("weight", {outputs, inputs});
        if (needs.bias) layer.bias = floats("bias", {outputs});
        continue;
      }
      int64_t kept = -1;
      if (needs.by_row) {
        layer.columns = indices("columns", kept);
        kept = layer.columns.size;
        layer.row_starts = indices("row_starts", outputs + 1);
      }
      if (needs.by_column && reader.ok()) {
        layer.rows = indices("rows", kept);
        kept = layer.rows.size;
        layer.column_starts = indices("column_starts", inputs + 1);
        layer.order = indices("order", kept);
      }
      if (needs.weight && reader.ok()) layer.weight = floats("weight", {kept});
      if (needs.bias && reader.ok()) layer.bias = floats("bias", {outputs});
      layer.shape.kept = kept;
    }
    if (reader.ok() && next != arguments.size()) {
      reader.Fail(std::to_string(arguments.size() - first) + " arrays of layers, " +
                  std::to_string(next - first) + " are used");
    }
  }

  size_t size() const { return layers_.size(); }

  // The layers of one network of the batch, their indices checked.
  ffi::Error At(int64_t network, std::vector<Layer>* found) const {
    found->clear();
    for (size_t l = 0; l < layers_.size(); ++l) {
      const Stacks& stacks = layers_[l];
      Layer layer = stacks.shape;
      auto at = [&](const auto& stack) { return stack.data ? stack.At(network) : nullptr; };
      layer.weight = at(stacks.weight), layer.bias = at(stacks.bias);
      if (stacks.packed) {
        layer.columns = at(stacks.columns), layer.row_starts = at(stacks.row_starts);
        layer.rows = at(stacks.rows), layer.column_starts = at(stacks.column_starts);
        layer.order = at(stacks.order);
        const std::string name = "layer " + std::to_string(l) + ": ";
        if (layer.row_starts) {
          ffi::Error error = CheckStarts(name + "row_starts", layer.row_starts, layer.outputs,
                                         layer.kept);
          if (error.failure()) return error;
          if (!InRange(layer.columns, layer.kept, layer.inputs)) {
            return ffi::Error::InvalidArgument(name + "a column is outside 0.." +
                                               std::to_string(layer.inputs - 1));
          }
        }
        if (layer.column_starts) {
          ffi::Error error = CheckStarts(name + "column_starts", layer.column_starts, layer.inputs,
                                         layer.kept);
          if (error.failure()) return error;
          if (!InRange(layer.rows, layer.kept, layer.outputs) ||
              !InRange(layer.order, layer.kept, layer.kept)) {
            return ffi::Error::InvalidArgument(name + "the column-wise indices point outside");
          }
        }
      }
      found->push_back(layer);
    }
    return ffi::Error::Success();
  }

 private:
  struct Stacks {
    Layer shape;
    bool packed = false;
    Stack<float> weight, bias;
    Stack<int32_t> columns, row_starts, rows, column_starts, order;
  };
  std::vector<Stacks> layers_;
};

}  // namespace sparl
