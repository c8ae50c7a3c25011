// Calls the kernels' handlers as XLA does, for the sanitizers: every buffer is an allocation of
// exactly its size, full of NaN if it is a result, and the thread pool is made of std::threads.
// See run.sh.

#include <algorithm>
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
  Shape widths, kept;  // no attributes at all if they are empty
  bool relu_last = false;
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

  XLA_FFI_Scalar relu{XLA_FFI_DataType_PRED, &attributes.relu_last};
  XLA_FFI_Array kept{XLA_FFI_DataType_S64, attributes.kept.size(), attributes.kept.data()};
  XLA_FFI_Array widths{XLA_FFI_DataType_S64, attributes.widths.size(), attributes.widths.data()};
  XLA_FFI_ByteSpan names[] = {{"kept", 4}, {"relu_last", 9}, {"widths", 6}};
  XLA_FFI_ByteSpan* given[] = {&names[0], &names[1], &names[2]};
  XLA_FFI_AttrType types[] = {XLA_FFI_AttrType_ARRAY, XLA_FFI_AttrType_SCALAR,
                              XLA_FFI_AttrType_ARRAY};
  void* values[] = {&kept, &relu, &widths};

  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.ctx = &pool;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(arguments.size()),
                argument_types.data(), pointers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(results.size()),
                result_types.data(), pointers.data() + arguments.size()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, attributes.widths.empty() ? 0 : 3, types, given,
                 values};
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

// One packed layer's indices, of every network or one for all.
struct Packed {
  Array columns, row_starts;
  Arrays by_column;  // rows, column_starts, order

  Arrays All() const {
    return {columns, row_starts, by_column[0], by_column[1], by_column[2]};
  }
};

// `networks` of them, each layer dense (fraction 1 or more) or with about that fraction kept.
struct Net {
  Net(Shape widths, std::vector<double> fractions, int64_t batch, int64_t networks, bool relu_last,
      bool shared, int seed)
      : batch(batch), networks(networks), random(seed) {
    attributes = {widths, {}, relu_last};
    const int64_t stacks = shared ? 1 : networks;  // places that serve all networks
    int64_t value_count = 0;
    for (size_t l = 0; l < fractions.size(); ++l) {
      const int64_t inputs = widths[l], outputs = widths[l + 1];
      const bool is_packed = fractions[l] < 1;
      attributes.kept.push_back(
          is_packed ? static_cast<int64_t>(fractions[l] * outputs * inputs) : -1);
      if (is_packed) packed.push_back(Places(stacks, outputs, inputs, attributes.kept.back()));
      value_count += (is_packed ? attributes.kept.back() : inputs * outputs) + outputs;
    }
    values = Random({networks, value_count});
    PutIndices(stacks);
    x = Random({networks, widths.front(), batch});
    dy = Random({networks, widths.back(), batch});
  }

  Array Random(Shape dims) {
    Array array = Floats(std::move(dims));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < array.count; ++i) array.floats()[i] = normal(random);
    return array;
  }

  Packed Places(int64_t stacks, int64_t outputs, int64_t inputs, int64_t kept) {
    Packed layer{Ints({stacks, kept}), Ints({stacks, outputs + 1}),
                 {Ints({stacks, kept}), Ints({stacks, inputs + 1}), Ints({stacks, kept})}};
    for (int64_t n = 0; n < stacks; ++n) {
      int32_t* columns = layer.columns.ints() + n * kept;
      int32_t* starts = layer.row_starts.ints() + n * (outputs + 1);
      int64_t k = 0, places = outputs * inputs;
      for (int64_t r = 0; r < outputs; ++r) {
        starts[r] = k;
        for (int64_t c = 0; c < inputs; ++c, --places) {
          if (static_cast<int64_t>(random() % places) < kept - k) columns[k++] = c;
        }
      }
      starts[outputs] = k;
    }
    Pool alone(1);
    CHECK(Call(sparl::Transpose, alone, {layer.columns, layer.row_starts}, layer.by_column) == "");
    return layer;
  }

  // `indices` from those of the packed layers, as `vectors` of network.py.
  void PutIndices(int64_t stacks) {
    int64_t count = 0;
    for (const Packed& layer : packed) {
      for (const Array& array : layer.All()) count += array.dims[1];
    }
    indices = Ints({stacks, count});
    int32_t* to = indices.ints();
    for (int64_t n = 0; n < stacks; ++n) {
      for (const Packed& layer : packed) {
        for (const Array& array : layer.All()) {
          to = std::copy_n(array.ints() + n * array.dims[1], array.dims[1], to);
        }
      }
    }
  }

  // Memory for the widths from number `first` to `end`, tile by tile.
  Array Tiled(size_t first, size_t end) const {
    const int64_t lanes = sparl::LanesFor(batch);
    int64_t features = 0;
    for (size_t l = first; l < end; ++l) features += attributes.widths[l];
    return Floats({networks, (batch + lanes - 1) / lanes, features, lanes});
  }
  Array Tape() const { return Tiled(0, attributes.kept.size() + attributes.relu_last); }
  Array Y() const { return Floats({networks, attributes.widths.back(), batch}); }
  // dvalues, dx and deltas, where they are wanted.
  Arrays Gradients(bool of_values, bool of_x) const {
    return {Floats({networks, of_values ? values.dims[1] : 0}),
            Floats({networks, of_x ? attributes.widths[0] : 0, batch}),
            of_values ? Tiled(1, attributes.widths.size()) : Tiled(0, 0)};
  }

  // Everything that the handlers make of it.
  Arrays All(Pool& pool) const {
    const Array y = Do(sparl::Infer, pool, {x, values, indices}, {Y()}, attributes)[0];
    const Arrays forward =
        Do(sparl::Forward, pool, {x, values, indices}, {Y(), Tape()}, attributes);
    CHECK(forward[0] == y);
    if (!attributes.relu_last) CHECK(Here() == y);

    const auto backward = [&](bool of_values, bool of_x) {
      return Do(sparl::Backward, pool, {dy, forward[1], values, indices},
                Gradients(of_values, of_x), attributes);
    };
    const Arrays both = backward(true, true);
    CHECK(backward(true, false)[0] == both[0]);
    CHECK(backward(false, true)[1] == both[1]);

    for (const Packed& layer : packed) {
      const Array kept = Floats({networks, layer.columns.dims[1]});
      std::copy_n(values.floats(), kept.count, kept.floats());
      const Array whole =
          Floats({networks, layer.row_starts.dims[1] - 1, layer.by_column[1].dims[1] - 1});
      const Arrays places{layer.columns, layer.row_starts};
      const Array dense = Do(sparl::Expand, pool, {kept, places[0], places[1]}, {whole})[0];
      CHECK(Do(sparl::Gather, pool, {dense, places[0], places[1]}, {Floats(kept.dims)})[0] == kept);
    }
    return {y, forward[1], both[0], both[1], both[2]};
  }

  // y outside XLA, network by network.
  Array Here() const {
    const Array y = Y();
    std::vector<float> one(y.count / networks);
    for (int64_t n = 0; n < networks; ++n) {
      const int64_t stack = indices.dims[0] == 1 ? 0 : n;
      const std::string wrong = sparl::InferHere(
          {attributes.widths.data(), attributes.widths.size()},
          {attributes.kept.data(), attributes.kept.size()},
          values.floats() + n * values.dims[1], values.dims[1],
          indices.ints() + stack * indices.dims[1], indices.dims[1],
          x.floats() + n * x.dims[1] * batch, one.data(), batch);
      CHECK(wrong.empty());
      std::copy(one.begin(), one.end(), y.floats() + n * one.size());
    }
    return y;
  }

  int64_t batch, networks;
  std::mt19937 random;
  Attributes attributes;
  std::vector<Packed> packed;
  Array values = Floats({}), indices = Ints({}), x = Floats({}), dy = Floats({});
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
    const Array tape = net.Tape(), y = net.Y();
    const Arrays gradients = net.Gradients(true, true);
    change(net);
    const Attributes& attributes = net.attributes;
    const Arrays there{net.x, net.values, net.indices};
    std::string all = Call(sparl::Infer, pool, there, {y}, attributes);
    all += Call(sparl::Forward, pool, there, {y, tape}, attributes);
    all += Call(sparl::Backward, pool, {net.dy, tape, net.values, net.indices}, gradients,
                attributes);
    const Packed& layer = net.packed[0];
    all += Call(sparl::Transpose, pool, {layer.columns, layer.row_starts}, layer.by_column);
    if (all.find(message) == std::string::npos) std::fprintf(stderr, "'%s'\n", all.c_str());
    CHECK(all.find(message) != std::string::npos);
  };
  for (int32_t bad : {-1, 9, 1 << 30, INT32_MIN, INT32_MAX}) {
    for (size_t l : {0, 1}) {  // and in the first network as well as in the last
      for (bool last : {false, true}) {
        const auto set = [=](Net& net, auto&& array) {
          Array& a = array(net.packed[l]);
          a.ints()[last ? a.count - 1 : 0] = bad;
          net.PutIndices(2);
        };
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.columns; }); },
                "a column is outside");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.row_starts; }); },
                "row_starts");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[1]; }); },
                "column_starts");
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[0]; }); },
                "column-wise");
        if (bad == 9) continue;  // there are as many values
        refused([&](Net& n) { set(n, [](Packed& p) -> Array& { return p.by_column[2]; }); },
                "column-wise");
      }
    }
  }
  refused([](Net& n) { n.values = Floats({2, 1}); }, "values has shape");
  refused([](Net& n) { n.values = Floats({3, n.values.dims[1]}); }, "values has shape");
  refused([](Net& n) { n.indices = Ints({2, n.indices.dims[1] - 1}); }, "indices has shape");
  refused([](Net& n) { n.x = Floats({2, 6, 32}); }, "x has shape");
  refused([](Net& n) { n.dy = Floats({2, 5, 32}); }, "dy has shape");
  refused([](Net& n) { n.attributes.widths.pop_back(); }, "need one more width");
  refused([](Net& n) { n.attributes.kept[1] = -1; }, "values has shape");
  refused([](Net& n) { n.attributes.kept[1] = -2; }, "layer 1");
  refused([](Net& n) { n.attributes.widths[1] = -9; }, "layer 0");
  refused([](Net& n) { n.attributes.relu_last = true; }, "tape has shape");
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
