// Kernels for processors with AVX2 and FMA: vectors of 8 numbers.
#define RLOTTERY_WIDTH 8
#define RLOTTERY_TILE_VECTORS 2
#define RLOTTERY_TABLE kAvx2
#include "kernels.h"
