// The kernels for every other processor: 4 numbers at a time, as SSE and NEON have it.
#define RLOTTERY_WIDTH 4
#if defined(__aarch64__)
#define RLOTTERY_TILE_VECTORS 4
#else
#define RLOTTERY_TILE_VECTORS 2
#endif
#define RLOTTERY_TABLE kPortable
#include "kernels.h"
