// What the running processor can do, not the one that compiled this.

#include "kernels.h"

namespace sparl {

const char* InstructionSet() {
#if defined(__aarch64__) || defined(_M_ARM64)
  return "neon";  // part of every 64-bit Arm processor
#elif defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  // These also ask whether the operating system saves the wide registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return "avx512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2+fma";
  return "portable";
#else
  return "portable";
#endif
}

}  // namespace sparl
