#define SPARL_PATH kAvx2
#define SPARL_PATH_NAME "avx2+fma"
#define SPARL_VECTOR 8
#include "path.h"
