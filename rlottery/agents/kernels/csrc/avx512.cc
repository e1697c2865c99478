// The kernels for processors with AVX-512: 16 numbers at a time.
#define RLOTTERY_WIDTH 16
#define RLOTTERY_TILE_VECTORS 4
#define RLOTTERY_TABLE kAvx512
#include "kernels.h"
