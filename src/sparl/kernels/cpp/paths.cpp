// The choice of the path that runs, by the processor that it runs on and not the one it was built
// on.

#include <atomic>
#include <cstring>

#include "layer.h"

namespace sparl {

extern const Path kPortable;
#ifdef SPARL_X86_PATHS
extern const Path kAvx2, kAvx512;
#endif

namespace {

bool Runs(const Path& path) {
#ifdef SPARL_X86_PATHS
  // These also ask whether the operating system saves the wide registers.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&path == &kAvx512) {
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
  if (&path == &kAvx2) return avx2;
#endif
  return &path == &kPortable;
}

const Path* const kPaths[] = {
#ifdef SPARL_X86_PATHS
    &kAvx512,
    &kAvx2,
#endif
    &kPortable,
};

const Path* Best() {
  for (const Path* path : kPaths) {
    if (Runs(*path)) return path;
  }
  return &kPortable;
}

std::atomic<const Path*> current{nullptr};

}  // namespace

const Path& CurrentPath() {
  const Path* path = current.load(std::memory_order_relaxed);
  if (path == nullptr) current.store(path = Best(), std::memory_order_relaxed);
  return *path;
}

bool ForcePath(const char* name) {
  if (*name == '\0') {
    current.store(Best(), std::memory_order_relaxed);
    return true;
  }
  for (const Path* path : kPaths) {
    if (std::strcmp(path->name, name) == 0 && Runs(*path)) {
      current.store(path, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

}  // namespace sparl
