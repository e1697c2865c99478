// The kernels for processors with AVX2 and FMA: 8 numbers at a time.
#define RLOTTERY_WIDTH 8
#define RLOTTERY_TILE_VECTORS 2
#define RLOTTERY_TABLE kAvx2
#include "kernels.h"
