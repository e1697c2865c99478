// Kernels for all other processors: vectors of 4 numbers, as in SSE and NEON.
#define RLOTTERY_WIDTH 4
#if defined(__aarch64__)
#define RLOTTERY_TILE_VECTORS 4
#else
#define RLOTTERY_TILE_VECTORS 2
#endif
#define RLOTTERY_TABLE kPortable
#include "kernels.h"
