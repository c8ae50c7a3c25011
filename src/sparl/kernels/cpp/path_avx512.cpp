#define SPARL_PATH kAvx512
#define SPARL_PATH_NAME "avx512"
#define SPARL_VECTOR 16
#include "path.h"
