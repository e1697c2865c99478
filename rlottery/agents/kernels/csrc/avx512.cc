// Kernels for processors with AVX-512: vectors of 16 numbers.
#define RLOTTERY_WIDTH 16
#define RLOTTERY_TILE_VECTORS 4
#define RLOTTERY_TABLE kAvx512
#include "kernels.h"
