// Four floats at a time: NEON on 64-bit Arm, SSE2 on any x86-64.
#define SPARL_PATH kPortable
#define SPARL_VECTOR 4
#ifdef __aarch64__
#define SPARL_PATH_NAME "neon"
#else
#define SPARL_PATH_NAME "portable"
#endif
#include "path.h"
