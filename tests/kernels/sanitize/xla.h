// What stands in for XLA: calls handlers as it does. Every buffer is an allocation of exactly its
// size, full of NaN if it is a result, and the thread pool is made of std::threads.
#pragma once

#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
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
using Shape = std::vector<int64_t>;

inline XLA_FFI_Api Api() {
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

inline Array Floats(Shape dims) { return Array(XLA_FFI_DataType_F32, std::move(dims)); }
inline Array Ints(Shape dims) { return Array(XLA_FFI_DataType_S32, std::move(dims)); }

using Attributes = Shape;  // "form" of form.h, or no attributes at all if it is empty

// The error's message, "" for none.
inline std::string Call(XLA_FFI_Handler* handler, Pool& pool, const Arrays& arguments,
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

  XLA_FFI_Array form{XLA_FFI_DataType_S64, attributes.size(), attributes.data()};
  XLA_FFI_ByteSpan name{"form", 4}, *names[] = {&name};
  XLA_FFI_AttrType types[] = {XLA_FFI_AttrType_ARRAY};
  void* values[] = {&form};

  XLA_FFI_CallFrame frame{};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.ctx = &pool;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, static_cast<int64_t>(arguments.size()),
                argument_types.data(), pointers.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, static_cast<int64_t>(results.size()),
                result_types.data(), pointers.data() + arguments.size()};
  frame.attrs = {XLA_FFI_Attrs_STRUCT_SIZE, nullptr, attributes.empty() ? 0 : 1, types, names, values};
  XLA_FFI_Error* error = handler(&frame);
  const std::string message = error ? error->message : "";
  delete error;
  return message;
}

inline void CheckWritten(const Array& array) {
  for (int64_t i = 0; i < array.count; ++i) CHECK(!std::isnan(array.floats()[i]));
}

// The results of a call that must succeed.
inline Arrays Try(XLA_FFI_Handler* handler, Pool& pool, const Arrays& arguments, Arrays results,
          const Attributes& attributes = {}) {
  const std::string message = Call(handler, pool, arguments, results, attributes);
  if (!message.empty()) std::fprintf(stderr, "%s\n", message.c_str());
  CHECK(message.empty());
  return results;
}

// The results of a call that must succeed and write all of them.
inline Arrays Do(XLA_FFI_Handler* handler, Pool& pool, const Arrays& arguments, Arrays results,
          const Attributes& attributes = {}) {
  results = Try(handler, pool, arguments, std::move(results), attributes);
  for (const Array& array : results) CheckWritten(array);
  return results;
}
