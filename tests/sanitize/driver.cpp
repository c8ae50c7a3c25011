// Calls the kernels' handlers as XLA does, for the sanitizers: every buffer is an allocation of
// exactly its size, full of NaN if it is a result, and the thread pool is made of std::threads.
// See run.sh.

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "layer.h"

#define CHECK(condition)                                                        \
  if (!(condition)) {                                                           \
    std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
    std::_Exit(1);                                                              \
  }

struct XLA_FFI_Error {
  std::string message;
};

// A thread pool.
struct XLA_FFI_ExecutionContext {
  explicit XLA_FFI_ExecutionContext(int64_t size) : size(size) {
    for (int64_t i = 0; i < size; ++i) threads.emplace_back([this] { Run(); });
  }
  ~XLA_FFI_ExecutionContext() {
    Schedule(nullptr);
    for (auto& thread : threads) thread.join();
  }
  void Schedule(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex);
    tasks.push_back(std::move(task));
    changed.notify_one();
  }
  void Run() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return !tasks.empty(); });
      auto task = tasks.front();
      if (!task) return changed.notify_all();  // stays there for the other threads
      tasks.pop_front();
      lock.unlock();
      task();
    }
  }
  const int64_t size;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> tasks;
  std::vector<std::thread> threads;
};
using Pool = XLA_FFI_ExecutionContext;

namespace {

using Shape = std::vector<int64_t>;

XLA_FFI_Api Api() {
  XLA_FFI_Api api{};
  api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
  api.api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR};
  api.XLA_FFI_Error_Create = [](auto* args) { return new XLA_FFI_Error{args->message}; };
  api.XLA_FFI_Error_GetMessage = [](auto* args) { args->message = args->error->message.c_str(); };
  api.XLA_FFI_Error_Destroy = [](auto* args) { delete args->error; };
  api.XLA_FFI_ThreadPool_NumThreads = [](auto* args) {
    *args->num_threads = args->ctx->size;
    return static_cast<XLA_FFI_Error*>(nullptr);
  };
  api.XLA_FFI_ThreadPool_Schedule = [](auto* args) {
    args->ctx->Schedule([task = args->task, data = args->data] { task(data); });
    return static_cast<XLA_FFI_Error*>(nullptr);
  };
  return api;
}

struct Array {
  Array(XLA_FFI_DataType type, Shape dims) : type(type), dims(std::move(dims)) {
    for (int64_t size : this->dims) count *= size;
    if (count) memory.reset(new float[count]);  // XLA gives null for what is empty
    for (int64_t i = 0; i < count; ++i) memory[i] = NAN;
  }
  float* floats() const { return memory.get(); }
  int32_t* ints() const { return reinterpret_cast<int32_t*>(memory.get()); }
  bool operator==(const Array& other) const {
    return count == other.count &&
           (count == 0 || std::memcmp(floats(), other.floats(), count * sizeof(float)) == 0);
  }

  XLA_FFI_DataType type;
  Shape dims;
  int64_t count = 1;
  std::shared_ptr<float[]> memory;
};
using Arrays = std::vector<Array>;

Array Floats(Shape dims) { return Array(XLA_FFI_DataType_F32, std::move(dims)); }
Array Ints(Shape dims) { return Array(XLA_FFI_DataType_S32, std::move(dims)); }

struct Attributes {
  Shape packed, widths;
  int64_t batch = -1;  // not one of the attributes if it is negative
  int relu_last = -1;
};

// The error's message, "" for none.
std::string Call(XLA_FFI_Handler* handler, Pool& pool, const Arrays& arguments,
                 const Arrays& results, Attributes attributes = {}) {
  static const XLA_FFI_Api api = Api();
  const size_t all = arguments.size() + results.size();
  std::vector<XLA_FFI_Buffer> buffers;
  buffers.reserve(all);
  std::vector<void*> pointers;
  for (const Arrays* arrays : {&arguments, &results}) {
    for (const Array& array : *arrays) {
      buffers.push_back({XLA_FFI_Buffer_STRUCT_SIZE, nullptr, array.type, array.floats(),
                         static_cast<int64_t>(array.dims.size()),
                         const_cast<int64_t*>(array.dims.data())});
      pointers.push_back(&buffers.back());
    }
  }
  std::vector<XLA_FFI_ArgType> argument_types(arguments.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> result_types(results.size(), XLA_FFI_RetType_BUFFER);

  bool relu_last = attributes.relu_last > 0;
  XLA_FFI_Scalar batch{XLA_FFI_DataType_S64, &attributes.batch};
  XLA_FFI_Scalar relu{XLA_FFI_DataType_PRED, &relu_last};
  XLA_FFI_Array packed{XLA_FFI_DataType_S64, attributes.packed.size(), attributes.packed.data()};
  XLA_FFI_Array widths{XLA_FFI_DataType_S64, attributes.widths.size(), attributes.widths.data()};
  XLA_FFI_ByteSpan names[] = {{"batch", 5}, {"packed", 6}, {"relu_last", 9}, {"widths", 6}};
  std::vector<XLA_FFI_AttrType> types;
  std::vector<XLA_FFI_ByteSpan*> given;
  std::vector<void*> values;
  const auto give = [&](bool there, int name, XLA_FFI_AttrType type, void* value) {
    if (there) types.push_back(type), given.push_back(&names[name]), values.push_back(value);
  };
  give(attributes.batch >= 0, 0, XLA_FFI_AttrType_SCALAR, &batch);
  give(!attributes.widths.empty(), 1, XLA_FFI_AttrType_ARRAY, &packed);
  give(attributes.relu_last >= 0, 2, XLA_FFI_AttrType_SCALAR, &relu);
  give(!attributes.widths.empty(), 3, XLA_FFI_AttrType_ARRAY, &widths);

  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.ctx = &pool;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(arguments.size()),
                argument_types.data(), pointers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(results.size()),
                result_types.data(), pointers.data() + arguments.size()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, static_cast<int64_t>(given.size()),
                 types.data(), given.data(), values.data()};
  XLA_FFI_Error* error = handler(&frame);
  const std::string message = error ? error->message : "";
  delete error;
  return message;
}

// The results of a call that must succeed and write all of them.
Arrays Do(XLA_FFI_Handler* handler, Pool& pool, const Arrays& arguments, Arrays results,
          const Attributes& attributes = {}) {
  const std::string message = Call(handler, pool, arguments, results, attributes);
  if (!message.empty()) std::fprintf(stderr, "%s\n", message.c_str());
  CHECK(message.empty());
  for (const Array& array : results) {
    for (int64_t i = 0; i < array.count; ++i) CHECK(!std::isnan(array.floats()[i]));
  }
  return results;
}

// `networks` of them, each layer dense (fraction 1 or more) or with about that fraction kept.
struct Net {
  Net(Shape widths_, std::vector<double> fractions, int64_t batch, int64_t networks, bool relu_last,
      bool shared, int seed)
      : widths(std::move(widths_)), batch(batch), networks(networks), random(seed) {
    attributes = {{}, widths, -1, relu_last};
    Pool alone(1);
    for (size_t l = 0; l < fractions.size(); ++l) {
      const int64_t inputs = widths[l], outputs = widths[l + 1];
      attributes.packed.push_back(fractions[l] < 1);
      Layer layer;
      layer.bias = Random({networks, outputs});
      if (fractions[l] >= 1) {
        layer.weight = Random({networks, outputs, inputs});
      } else {
        const int64_t kept = static_cast<int64_t>(fractions[l] * outputs * inputs);
        const int64_t stacks = shared ? 1 : networks;  // places that serve all networks
        layer.columns = Ints({stacks, kept}), layer.starts = Ints({stacks, outputs + 1});
        for (int64_t n = 0; n < stacks; ++n) {
          int64_t k = 0, left = kept, places = outputs * inputs;
          for (int64_t r = 0; r < outputs; ++r) {
            layer.starts.ints()[n * (outputs + 1) + r] = k;
            for (int64_t c = 0; c < inputs; ++c, --places) {
              if (static_cast<int64_t>(random() % places) >= left) continue;
              layer.columns.ints()[n * kept + k++] = c;
              --left;
            }
          }
          layer.starts.ints()[n * (outputs + 1) + outputs] = kept;
        }
        layer.by_column = {Ints({stacks, kept}), Ints({stacks, inputs + 1}), Ints({stacks, kept})};
        CHECK(Call(sparl::Transpose, alone, {layer.columns, layer.starts}, layer.by_column) == "");
        layer.weight = Random({networks, kept});
      }
      layers.push_back(layer);
    }
    x = Random({networks, widths.front(), batch});
    dy = Random({networks, widths.back(), batch});
  }

  Array Random(Shape dims) {
    Array array = Floats(std::move(dims));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < array.count; ++i) array.floats()[i] = normal(random);
    return array;
  }

  // As `_operands` of network.py.
  void Append(Arrays* to, bool weight, bool bias, bool by_row, bool by_column, size_t count) const {
    for (size_t l = 0; l < count; ++l) {
      const Layer& layer = layers[l];
      if (attributes.packed[l] && by_row) to->insert(to->end(), {layer.columns, layer.starts});
      if (attributes.packed[l] && by_column) {
        to->insert(to->end(), layer.by_column.begin(), layer.by_column.end());
      }
      if (weight) to->push_back(layer.weight);
      if (bias) to->push_back(layer.bias);
    }
  }

  Array Tiled(size_t first, size_t end) const {
    const int64_t lanes = sparl::LanesFor(batch);
    int64_t features = 0;
    for (size_t l = first; l < end; ++l) features += widths[l];
    return Floats({networks, (batch + lanes - 1) / lanes, features, lanes});
  }

  // Everything that the handlers make of it.
  Arrays All(Pool& pool) const {
    Arrays found;
    const bool relu_last = attributes.relu_last;
    Arrays arguments{x};
    Append(&arguments, true, true, true, false, layers.size());
    const Array y = Floats({networks, widths.back(), batch});
    const Array value = Do(sparl::Infer, pool, arguments, {y}, attributes)[0];
    const Arrays forward = Do(sparl::Forward, pool, arguments,
                              {Floats(y.dims), Tiled(0, layers.size() + relu_last)}, attributes);
    CHECK(forward[0] == value);

    arguments = {dy, forward[1]};
    Append(&arguments, true, false, false, true, layers.size());
    const Array deltas =
        Do(sparl::Deltas, pool, arguments, {Tiled(1, widths.size())}, attributes)[0];

    arguments = {forward[1], deltas};
    Append(&arguments, false, false, true, false, layers.size());
    Arrays gradients;
    for (const Layer& layer : layers) {
      gradients.push_back(Floats(layer.weight.dims)), gradients.push_back(Floats(layer.bias.dims));
    }
    Attributes with_batch = attributes;
    with_batch.batch = batch;
    gradients = Do(sparl::Gradients, pool, arguments, gradients, with_batch);

    arguments = {deltas};
    Append(&arguments, true, false, false, true, 1);
    Attributes without_relu = attributes;
    without_relu.relu_last = -1;
    const Arrays dx = Do(sparl::InputGradient, pool, arguments, {Floats(x.dims)}, without_relu);

    found.insert(found.end(), {value, forward[1], deltas, dx[0]});
    found.insert(found.end(), gradients.begin(), gradients.end());
    for (const Layer& layer : layers) {
      if (layer.by_column.empty()) continue;
      const Shape matrix{networks, layer.bias.dims[1], layer.by_column[1].dims[1] - 1};
      const Array whole = Do(sparl::Expand, pool, {layer.weight, layer.columns, layer.starts},
                             {Floats(matrix)})[0];
      CHECK(Do(sparl::Gather, pool, {whole, layer.columns, layer.starts},
               {Floats(layer.weight.dims)})[0] == layer.weight);
    }
    return found;
  }

  struct Layer {
    Array weight = Floats({}), bias = Floats({}), columns = Ints({}), starts = Ints({});
    Arrays by_column;
  };
  Shape widths;
  int64_t batch, networks;
  std::mt19937 random;
  Attributes attributes;
  std::vector<Layer> layers;
  Array x = Floats({}), dy = Floats({});
};

std::vector<Net> Nets() {
  std::vector<Net> nets;
  int seed = 0;
  const auto add = [&](Shape widths, std::vector<double> fractions, int64_t batch,
                       int64_t networks = 1, bool relu_last = false, bool shared = false) {
    nets.emplace_back(widths, fractions, batch, networks, relu_last, shared, ++seed);
  };
  for (int64_t batch : {0, 1, 2, 15, 16, 17, 31, 32, 33, 65}) {
    add({7, 13, 5, 1}, {1, 0.4, 0.7}, batch, 1, batch % 2);
    add({19, 3, 23}, {0.1, 1}, batch, 3, batch % 2 == 0, batch > 16);
  }
  for (int64_t width : {1, 2, 3, 4, 5, 8, 9, 12, 14, 17, 28, 29, 43}) {  // ends of blocks
    add({width, 44 - width, width}, {1, 1}, 20), add({width, 44 - width, width}, {0.5, 0.9}, 40);
  }
  add({9, 40, 6}, {0.02, 0.999}, 33, 2);  // hardly any, nearly all
  add({30, 8}, {0.0}, 5);                 // nothing kept
  add({5, 0, 3}, {1, 0.5}, 5);            // nothing in between
  add({23, 120, 130, 1}, {0.125, 0.125, 1}, 256);
  add({40, 150, 33}, {0.5, 0.6}, 128, 2);
  add({64, 70, 2}, {0.45, 0.5}, 1027);
  return nets;
}

void Malformed(Pool& pool) {
  const auto refused = [&](auto&& change, const char* message) {
    Net net({6, 9, 5}, {0.5, 0.4}, 33, 2, false, false, 1);
    const Array tape = Floats(net.Tiled(0, 2).dims), deltas = Floats(net.Tiled(1, 3).dims);
    change(net);
    Arrays by_row{net.x}, by_column{net.dy, tape}, first{deltas}, places{tape, deltas}, gradients;
    net.Append(&by_row, true, true, true, false, 2);
    net.Append(&by_column, true, false, false, true, 2);
    net.Append(&first, true, false, false, true, 1);
    net.Append(&places, false, false, true, false, 2);
    for (const auto& layer : net.layers) {
      gradients.push_back(Floats(layer.weight.dims)), gradients.push_back(Floats(layer.bias.dims));
    }
    Attributes with_batch = net.attributes, without_relu = net.attributes;
    with_batch.batch = net.batch, without_relu.relu_last = -1;
    std::string all = Call(sparl::Infer, pool, by_row, {Floats(net.dy.dims)}, net.attributes);
    all += Call(sparl::Forward, pool, by_row, {Floats(net.dy.dims), tape}, net.attributes);
    all += Call(sparl::Deltas, pool, by_column, {deltas}, net.attributes);
    all += Call(sparl::InputGradient, pool, first, {Floats(net.x.dims)}, without_relu);
    all += Call(sparl::Gradients, pool, places, gradients, with_batch);
    const auto& layer = net.layers[0];
    all += Call(sparl::Transpose, pool, {layer.columns, layer.starts}, layer.by_column);
    if (all.find(message) == std::string::npos) std::fprintf(stderr, "'%s'\n", all.c_str());
    CHECK(all.find(message) != std::string::npos);
  };
  for (int32_t bad : {-1, 9, 1 << 30, INT32_MIN, INT32_MAX}) {
    for (size_t l : {0, 1}) {  // and in the first network as well as in the last
      for (bool last : {false, true}) {
        const auto set = [&, bad](Array& a) { a.ints()[last ? a.count - 1 : 0] = bad; };
        refused([&](Net& n) { set(n.layers[l].columns); }, "a column is outside");
        refused([&](Net& n) { set(n.layers[l].starts); }, "row_starts");
        refused([&](Net& n) { set(n.layers[l].by_column[1]); }, "column_starts");
        refused([&](Net& n) { set(n.layers[l].by_column[0]); }, "column-wise");
        if (bad != 9) refused([&](Net& n) { set(n.layers[l].by_column[2]); }, "column-wise");
      }
    }
  }
  refused([](Net& n) { n.layers[1].weight = Floats({2, 1}); }, "weight has shape");
  refused([](Net& n) { n.layers[0].bias = Floats({2, 8}); }, "bias has shape");
  refused([](Net& n) { n.layers[1].starts = Ints({2, 4}); }, "row_starts has shape");
  refused([](Net& n) { n.layers[0].columns = Ints({3, 27}); }, "columns has shape");
  refused([](Net& n) { n.layers[0].by_column[2] = Ints({2, 26}); }, "order has shape");
  refused([](Net& n) { n.x = Floats({2, 6, 32}); }, "x has shape");
  refused([](Net& n) { n.attributes.widths.pop_back(); }, "need one more width");
  refused([](Net& n) { n.attributes.packed[1] = 0; }, "layer 1");
}

}  // namespace

int main() {
  Pool one(1), four(4);
  const std::vector<Net> nets = Nets();
  for (const char* name : {"avx512", "avx2+fma", "portable", "neon"}) {
    if (!sparl::ForcePath(name)) {
      std::printf("%s: cannot run here\n", name);
      continue;
    }
    std::vector<Arrays> wanted;
    for (const Net& net : nets) wanted.push_back(net.All(one));
    for (size_t i = 0; i < nets.size(); ++i) CHECK(nets[i].All(four) == wanted[i]);

    // Handlers that run at the same time, on threads of the pool themselves, as XLA's do.
    std::atomic<int64_t> left{4 * static_cast<int64_t>(nets.size())};
    for (size_t i = 0; i < 4 * nets.size(); ++i) {
      four.Schedule([&, i = i % nets.size()] {
        CHECK(nets[i].All(four) == wanted[i]);
        --left;
      });
    }
    while (left) std::this_thread::yield();
    std::printf("%s: %zu networks\n", name, nets.size());
    std::fflush(stdout);
  }
  Malformed(one);
  Malformed(four);
  std::printf("malformed operands: refused\n");
}
