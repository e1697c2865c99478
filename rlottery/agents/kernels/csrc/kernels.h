// The kernels, written for vectors of RLOTTERY_WIDTH numbers and compiled once per instruction set.
//
// A block of 64 batch columns passes through all layers before the next block does, so its activations stay in the
// cache. A row has one unit's numbers for all columns of a block. Each weight multiplies such a row, which is read in
// order for any sparsity pattern, and pruned weights cost nothing.
#include "mlp.h"

#define RLOTTERY_INLINE static inline __attribute__((always_inline))
#define RLOTTERY_INLINE_MEMBER inline __attribute__((always_inline))

namespace rlottery {
namespace {

constexpr int kWidth = RLOTTERY_WIDTH;
constexpr int kVectors = kBlock / kWidth;                // vectors per row of a block
constexpr int kTileVectors = RLOTTERY_TILE_VECTORS;      // of a tile that stays in registers,
constexpr int kTileRows = 6;                             // and its rows
constexpr int kPanel = kTileVectors * kWidth;            // columns of such a tile
static_assert(kVectors % kTileVectors == 0, "tiles fill a block");

typedef float Vec __attribute__((vector_size(kWidth * 4), aligned(4), may_alias));
typedef int32_t Integers __attribute__((vector_size(kWidth * 4)));

RLOTTERY_INLINE Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
RLOTTERY_INLINE void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }
RLOTTERY_INLINE Vec splat(float value) { return value - Vec{}; }
RLOTTERY_INLINE Vec rectified(Vec value) { return value > Vec{} ? value : Vec{}; }
RLOTTERY_INLINE int64_t blocks_of(int64_t batch) { return (batch + kBlock - 1) / kBlock; }
RLOTTERY_INLINE int64_t padded(int64_t units) { return (units + kWidth - 1) / kWidth * kWidth; }

template <int N>
struct Sum {  // of the N numbers of a vector: adds its halves until four numbers are left
  typedef float Whole __attribute__((vector_size(N * 4), aligned(4), may_alias));
  typedef float Half __attribute__((vector_size(N * 2), aligned(4), may_alias));
  static RLOTTERY_INLINE_MEMBER float of(Whole value) {
    Half low, high;
    __builtin_memcpy(&low, &value, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof low, sizeof high);
    return Sum<N / 2>::of(low + high);
  }
};

template <>
struct Sum<4> {
  typedef float Whole __attribute__((vector_size(16), aligned(4), may_alias));
  static RLOTTERY_INLINE_MEMBER float of(Whole value) { return (value[0] + value[2]) + (value[1] + value[3]); }
};

RLOTTERY_INLINE float sum(Vec value) { return Sum<kWidth>::of(value); }

// a b + c with one rounding, where the processor can. In a plain `a * b + c * d`, the compiler chooses which product is
// rounded.
RLOTTERY_INLINE Vec fused(Vec a, Vec b, Vec c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  Vec to;
  for (int i = 0; i < kWidth; i++) to[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return to;
#else
  return a * b + c;
#endif
}

// Whether the compiler has both `__builtin_shuffle` (GCC) and `__builtin_shufflevector` (GCC from 12).
#if !defined(__clang__) && __GNUC__ >= 12 && !defined(RLOTTERY_NO_SHUFFLES)
#define RLOTTERY_SHUFFLES
#endif

#if defined(RLOTTERY_SHUFFLES)
template <int N>
struct Lanes;  // a vector of N numbers: four each from `from`, `from` + `step`, ...

template <>
struct Lanes<4> {
  typedef float Whole __attribute__((vector_size(16), aligned(4), may_alias));
  static RLOTTERY_INLINE_MEMBER Whole load(const float* from, int64_t) { return *reinterpret_cast<const Whole*>(from); }
};

#if RLOTTERY_WIDTH >= 8
template <>
struct Lanes<8> {
  static RLOTTERY_INLINE_MEMBER auto load(const float* from, int64_t step) {
    auto low = Lanes<4>::load(from, step), high = Lanes<4>::load(from + step, step);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
  }
};

#endif
#if RLOTTERY_WIDTH >= 16
template <>
struct Lanes<16> {
  static RLOTTERY_INLINE_MEMBER auto load(const float* from, int64_t step) {
    auto low = Lanes<8>::load(from, step), high = Lanes<8>::load(from + 2 * step, step);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
};
#endif
#endif

RLOTTERY_INLINE Vec square_root(Vec value) {
  Vec to;
  for (int i = 0; i < kWidth; i++) to[i] = __builtin_sqrtf(value[i]);
  return to;
}

void zero(float* to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = 0.0f;
}

// ---- tanh ---------------------------------------------------------------------------------------------------------

typedef uint32_t Bits __attribute__((vector_size(kWidth * 4)));

constexpr float kLog2High = 0x1.63p-1f, kLog2Low = -0x1.bd0106p-13f;  // their sum is ln 2; n times the first is exact

// Within 3 units in the last place of the exact value, for every float. NaN stays NaN.
//
// tanh(x) has the sign of x and the size e / (e + 2), where e = exp(2|x|) - 1. With 2|x| = n ln 2 + r for an integer n
// and |r| <= ln 2 / 2, e is 2^n (exp(r) - 1) + 2^n - 1. The terms of exp(r) - 1 after r^7 / 7! are below float's
// precision.
RLOTTERY_INLINE Vec hyperbolic_tangent(Vec x) {
  constexpr float kRound = 0x1.8p23f;  // added to a number below 2^22, it leaves the closest integer in the lowest bits
  Bits sign = (Bits)x & 0x80000000u;
  Vec twice = 2.0f * (Vec)((Bits)x ^ sign), most = splat(20.0f);
  twice = twice > most ? most : twice;  // tanh(10) is 1 as a float
  Vec shifted = twice * 0x1.715476p0f + kRound, n = shifted - kRound;
  Vec r = twice - n * kLog2High - n * kLog2Low;
  Vec p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  Vec power = (Vec)(((Bits)shifted << 23) + 0x3f800000u);  // 2^n
  Vec e = (r + r * (r * p)) * power + (power - 1.0f);
  return (Vec)((Bits)(e / (e + 2.0f)) | sign);
}

// A number's result has the same bits wherever it is: the last numbers are padded to a vector.
__attribute__((noinline)) void apply_tanh(float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += kWidth) {
    float last[kWidth] = {};
    int64_t left = count - i;
    float* at = left < kWidth ? last : y + i;
    if (left < kWidth)
      for (int64_t c = 0; c < left; c++) last[c] = y[i + c];
    store(at, hyperbolic_tangent(load(at)));
    if (left < kWidth)
      for (int64_t c = 0; c < left; c++) y[i + c] = last[c];
  }
}

// Outputs of a hidden layer's units that vary, in one block: y = tanh(y). Constant ones have been through it (`settle`).
void tanh_of_units(const Layer& layer, float* y) {
  for (int32_t l = 0; l < layer.varying_count; l++) apply_tanh(y + int64_t{layer.live[l]} * kBlock, kBlock);
}

// Gradients of the first `units` live outputs in one block: times the derivative of tanh at y = tanh(x), 1 - y^2.
void tanh_gradient_of_units(const Layer& layer, int32_t units, const float* y, float* gradient) {
  for (int32_t l = 0; l < units; l++) {
    int64_t row = int64_t{layer.live[l]} * kBlock;
    for (int64_t at = row; at < row + kBlock; at += kWidth) {
      Vec g = load(gradient + at), value = load(y + at);
      store(gradient + at, (g + g * value) * (1.0f - value));
    }
  }
}

// ---- Dense layers -------------------------------------------------------------------------------------------------

// acc[m][n] += sum over k of a(m, k) b(k, n), where a has two strides and b is read row by row.
template <int M, int N>
RLOTTERY_INLINE void accumulate(Vec (&acc)[M][N], const float* a, int64_t row, int64_t step, const float* b,
                                int64_t b_step, int64_t depth) {
  for (int64_t k = 0; k < depth; k++) {
    Vec right[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; n++) right[n] = load(b + n * kWidth);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      Vec left = splat(a[m * row]);
#pragma GCC unroll 8
      for (int n = 0; n < N; n++) acc[m][n] += left * right[n];
    }
    a += step;
    b += b_step;
  }
}

// Reorders weights (in, out) so that a tile's are adjacent: for each `kTileRows` output units, or the remaining ones, a
// panel (in, units). Rows of a matrix are often a power of two apart, and so compete for few places in the cache.
void to_panels(const float* weights, int32_t in, int32_t out, float* panels) {
  constexpr int32_t kTogether = 16;  // inputs: their weights are in the cache for the next panel
  for (int32_t first = 0; first < in; first += kTogether) {
    int32_t last = in - first < kTogether ? in : first + kTogether;
    for (int32_t j = 0; j < out; j += kTileRows) {
      const float* from = weights + j;
      float* to = panels + int64_t{j} * in;
      if (out - j >= kTileRows)
        for (int32_t k = first; k < last; k++)
          __builtin_memcpy(to + int64_t{k} * kTileRows, from + int64_t{k} * out, kTileRows * sizeof(float));
      else
        for (int32_t k = first; k < last; k++)
          for (int32_t m = 0; m < out - j; m++) to[int64_t{k} * (out - j) + m] = from[int64_t{k} * out + m];
    }
  }
}

// Output units j to j + M - 1 of one block: (in, block) -> (out, block).
template <int M>
void dense_rows_forward(const float* panels, const float* bias, int32_t in, int32_t j, const float* x, float* y,
                        bool hidden) {
  const float* weights = panels + int64_t{j} * in;
  for (int column = 0; column < kBlock; column += kTileVectors * kWidth) {
    Vec acc[M][kTileVectors];
    for (int m = 0; m < M; m++)
      for (int n = 0; n < kTileVectors; n++) acc[m][n] = splat(bias[j + m]);
    accumulate<M, kTileVectors>(acc, weights, 1, M, x + column, kBlock, in);
    for (int m = 0; m < M; m++)
      for (int n = 0; n < kTileVectors; n++)
        store(y + (j + m) * kBlock + column + n * kWidth, hidden ? rectified(acc[m][n]) : acc[m][n]);
  }
}

// Gradients of input units i to i + M - 1 of one block. They are zero where `x`, the input after ReLU, is zero, unless
// `x` is null.
template <int M>
void dense_rows_backward(const float* weights, int32_t out, int32_t i, const float* g, const float* x, float* gx) {
  for (int column = 0; column < kBlock; column += kTileVectors * kWidth) {
    Vec acc[M][kTileVectors] = {};
    accumulate<M, kTileVectors>(acc, weights + int64_t{i} * out, out, 1, g + column, kBlock, out);
    for (int m = 0; m < M; m++)
      for (int n = 0; n < kTileVectors; n++) {
        int64_t at = (i + m) * kBlock + column + n * kWidth;
        store(gx + at, x ? (load(x + at) > Vec{} ? acc[m][n] : Vec{}) : acc[m][n]);
      }
  }
}

// Gradients of the weights from input units i to i + M - 1 to N vectors of output units from j: sums over blocks, which
// are added to those of earlier blocks with `more`. `g` has rows of `g_row` numbers, one for each transition.
template <int M, int N>
void dense_rows_weights(const float* x, int64_t x_block, const float* g, int64_t g_row, int64_t blocks, int32_t out,
                        int32_t i, int32_t j, bool more, float* gw) {
  Vec acc[M][N] = {};
  if (more)
    for (int m = 0; m < M; m++) {
      const float* from = gw + int64_t{i + m} * out + j;
      for (int n = 0; n < N; n++) {
        if (j + (n + 1) * kWidth <= out)
          acc[m][n] = load(from + n * kWidth);
        else
          for (int c = 0; c < kWidth && j + n * kWidth + c < out; c++) acc[m][n][c] = from[n * kWidth + c];
      }
    }
  for (int64_t block = 0; block < blocks; block++)
    accumulate<M, N>(acc, x + block * x_block + int64_t{i} * kBlock, kBlock, 1, g + block * kBlock * g_row, g_row,
                     kBlock);
  for (int m = 0; m < M; m++) {
    float* to = gw + int64_t{i + m} * out + j;
    for (int n = 0; n < N; n++) {
      if (j + (n + 1) * kWidth <= out) {
        store(to + n * kWidth, acc[m][n]);
      } else {
        float row[kWidth];
        store(row, acc[m][n]);
        for (int c = 0; c < kWidth && j + n * kWidth + c < out; c++) to[n * kWidth + c] = row[c];
      }
    }
  }
}

// Calls f with a compile-time number of rows: as many full tiles as fit, then the remaining rows.
template <typename F>
RLOTTERY_INLINE void by_rows(int32_t rows, F f) {
  int32_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) f.template operator()<kTileRows>(i);
  switch (rows - i) {
    case 5: f.template operator()<5>(i); break;
    case 4: f.template operator()<4>(i); break;
    case 3: f.template operator()<3>(i); break;
    case 2: f.template operator()<2>(i); break;
    case 1: f.template operator()<1>(i); break;
    default: break;
  }
}

struct DenseForward {
  const float *panels, *bias;
  int32_t in;
  const float* x;
  float* y;
  bool hidden;
  template <int M>
  void operator()(int32_t j) const { dense_rows_forward<M>(panels, bias, in, j, x, y, hidden); }
};

struct DenseBackward {
  const float* weights;
  int32_t out, first;
  const float *g, *x;
  float* gx;
  template <int M>
  void operator()(int32_t i) const { dense_rows_backward<M>(weights, out, first + i, g, x, gx); }
};

struct DenseWeights {
  const float* x;
  int64_t x_block;
  const float* g_by_column;
  int64_t blocks;
  int32_t out;
  bool more;
  float* gw;
  template <int M>
  void operator()(int32_t i) const {
    int32_t j = 0;
    for (; j + kPanel <= padded(out); j += kPanel) {
      const float* panel = g_by_column + j * blocks * kBlock;
      dense_rows_weights<M, kTileVectors>(x, x_block, panel, kPanel, blocks, out, i, j, more, gw);
    }
    const float* rest = g_by_column + j * blocks * kBlock;
    int64_t row = padded(out) - j;
    for (int32_t c = 0; c < row; c += kWidth)
      dense_rows_weights<M, 1>(x, x_block, rest + c, row, blocks, out, i, j + c, more, gw);
  }
};

// Blocks whose gradients are transposed together, so that those of 2 x 256 units stay in the second-level cache.
constexpr int64_t kTransposedBlocks = 4;
RLOTTERY_INLINE int64_t transposed(int64_t blocks) { return blocks < kTransposedBlocks ? blocks : kTransposedBlocks; }

constexpr int kTransposed = 4;  // columns that `transpose` makes rows of

// Transposes kWidth rows of kTransposed numbers. Rows are `from_row` and `to_row` numbers apart.
RLOTTERY_INLINE void transpose(const float* from, int64_t from_row, float* to, int64_t to_row) {
#if defined(RLOTTERY_SHUFFLES)
  // Lane l of vector i has row 4 l + i. Two steps transpose lanes: numbers of two rows alternate, then pairs of them.
  Vec rows[kTransposed];
#pragma GCC unroll 4
  for (int i = 0; i < kTransposed; i++) rows[i] = Lanes<kWidth>::load(from + i * from_row, kTransposed * from_row);
  Integers low, high, first, second;
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; i++) {
    int lane = i / 4 * 4, at = i % 4;
    low[i] = lane + at / 2 + at % 2 * kWidth;
    high[i] = low[i] + 2;
    first[i] = lane + at % 2 + at / 2 * kWidth;
    second[i] = first[i] + 2;
  }
  Vec a = __builtin_shuffle(rows[0], rows[1], low), b = __builtin_shuffle(rows[0], rows[1], high);
  Vec c = __builtin_shuffle(rows[2], rows[3], low), d = __builtin_shuffle(rows[2], rows[3], high);
  store(to, __builtin_shuffle(a, c, first));
  store(to + to_row, __builtin_shuffle(a, c, second));
  store(to + 2 * to_row, __builtin_shuffle(b, d, first));
  store(to + 3 * to_row, __builtin_shuffle(b, d, second));
#else
  for (int i = 0; i < kWidth; i++)
    for (int j = 0; j < kTransposed; j++) to[j * to_row + i] = from[i * from_row + j];
#endif
}

// Transposes (blocks, units, block) to panels of `kPanel` units, or the remaining ones: (panels, blocks * block, units).
// Units are padded with zeros to whole vectors.
void by_column(const float* from, int64_t block_stride, int32_t units, int64_t blocks, float* to) {
  for (int32_t first = 0; first < units; first += kPanel) {
    int64_t row = padded(units) - first < kPanel ? padded(units) - first : kPanel;
    for (int64_t block = 0; block < blocks; block++) {
      const float* rows = from + block * block_stride + int64_t{first} * kBlock;
      int32_t j = 0;
      for (; j + kWidth <= row && first + j + kWidth <= units; j += kWidth)
        for (int c = 0; c < kBlock; c += kTransposed) transpose(rows + j * kBlock + c, kBlock, to + c * row + j, row);
      for (; j < row; j++)
        for (int c = 0; c < kBlock; c++) to[c * row + j] = first + j < units ? rows[j * kBlock + c] : 0.0f;
      to += kBlock * row;
    }
  }
}

// ---- Sparse layers ------------------------------------------------------------------------------------------------

// total += sum over k of value(k) x[row(k)], one block of columns.
template <typename Value>
RLOTTERY_INLINE void gather_rows(Vec (&total)[kVectors], int32_t from, int32_t to, const int32_t* row, Value value,
                                 const float* x) {
  int32_t k = from;
  if (kVectors < 8 && to - from >= 4) {  // few vectors: two sums at a time hide the latency of additions
    Vec other[kVectors] = {};
    for (; k + 2 <= to; k += 2) {
      Vec a = splat(value(k)), b = splat(value(k + 1));
      const float *xa = x + int64_t{row[k]} * kBlock, *xb = x + int64_t{row[k + 1]} * kBlock;
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; v++) {
        total[v] += a * load(xa + v * kWidth);
        other[v] += b * load(xb + v * kWidth);
      }
    }
    for (int v = 0; v < kVectors; v++) total[v] += other[v];
  }
  for (; k < to; k++) {
    Vec a = splat(value(k));
    const float* xa = x + int64_t{row[k]} * kBlock;
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) total[v] += a * load(xa + v * kWidth);
  }
}

// What doesn't depend on the batch, for each live unit of the sparse layers: the value of a constant unit, or the bias
// of a unit that varies together with what it receives from constant units. `settled` has a number for each input and
// unit of the network.
void settle(const Mlp& mlp, const float* parameters, float* settled) {
  for (int32_t l = 0; l < mlp.depth; l++) {
    const Layer& layer = mlp.layer[l];
    float* to = settled + layer.in;
    if (layer.kind == kSparse) {
      const float *values = parameters + layer.offset, *bias = values + layer.count;
      for (int32_t u = 0; u < layer.live_count; u++) {
        int32_t j = layer.live[u];
        float total = bias[j];
        for (int32_t k = layer.row_constant[j]; k < layer.row_start[j + 1]; k++)
          total += values[k] * settled[layer.row_input[k]];
        if (u >= layer.varying_count && l + 1 < mlp.depth) {
          if (mlp.activation == kTanh)
            apply_tanh(&total, 1);
          else if (!(total > 0.0f))
            total = 0.0f;
        }
        to[j] = total;
      }
    }
    settled = to;
  }
}

// One block of all live units that vary and, with `fill`, of the constant ones.
void sparse_forward(const Layer& layer, const float* values, const float* settled, const float* x, float* y,
                    bool hidden, bool fill) {
  for (int32_t l = 0; l < layer.varying_count; l++) {
    int32_t j = layer.live[l];
    Vec total[kVectors];
    for (int v = 0; v < kVectors; v++) total[v] = splat(settled[j]);
    gather_rows(total, layer.row_start[j], layer.row_constant[j], layer.row_input,
                [values](int32_t k) { return values[k]; }, x);
    float* to = y + int64_t{j} * kBlock;
    for (int v = 0; v < kVectors; v++) store(to + v * kWidth, hidden ? rectified(total[v]) : total[v]);
  }
  for (int32_t l = fill ? layer.varying_count : layer.live_count; l < layer.live_count; l++) {
    Vec value = splat(settled[layer.live[l]]);
    for (int v = 0; v < kVectors; v++) store(y + int64_t{layer.live[l]} * kBlock + v * kWidth, value);
  }
}

// Gradients of the given input units of one block. They are zero where `x`, the input after ReLU, is zero, unless `x`
// is null.
void sparse_backward(const Layer& layer, const float* values, const int32_t* units, int32_t count, int32_t first,
                     const float* g, const float* x, float* gx) {
  for (int32_t u = 0; u < count; u++) {
    int32_t i = units ? units[u] : first + u;
    Vec total[kVectors] = {};
    const int32_t* at = layer.column_value;
    gather_rows(total, layer.column_start[i], layer.column_start[i + 1], layer.column_output,
                [values, at](int32_t k) { return values[at[k]]; }, g);
    float* to = gx + int64_t{i} * kBlock;
    const float* xi = x ? x + int64_t{i} * kBlock : nullptr;
    for (int v = 0; v < kVectors; v++)
      store(to + v * kWidth, xi ? (load(xi + v * kWidth) > Vec{} ? total[v] : Vec{}) : total[v]);
  }
}

// The gradients of the biases of constant units below a sparse layer, summed over the batch, from those of its own
// biases. They are zero for units that are not live.
void constant_gradients(const Layer& layer, Activation activation, const float* values, const float* of_bias,
                        const Layer& below, const float* settled, float* of_bias_below) {
  if (below.live_count < below.out) zero(of_bias_below, below.out);
  for (int32_t u = below.varying_count; u < below.live_count; u++) {
    int32_t i = below.live[u];
    float total = 0.0f, slope = activation == kTanh ? (1.0f + settled[i]) * (1.0f - settled[i]) : 1.0f;
    if (activation == kTanh || settled[i] > 0.0f)
      for (int32_t k = layer.column_start[i]; k < layer.column_start[i + 1]; k++)
        total += values[layer.column_value[k]] * of_bias[layer.column_output[k]];
    of_bias_below[i] = total * slope;
  }
}

// Gradients of M survivors' values at a time: each is the product of two rows over the whole batch.
template <int M>
RLOTTERY_INLINE void row_products(const float* const* x, int64_t x_block, const float* g, int64_t g_block,
                                  int64_t blocks, float* to) {
  constexpr int kSums = M >= 4 ? 1 : 4 / M;  // sums at a time for each survivor
  Vec total[M][kSums] = {};
  for (int64_t block = 0; block < blocks; block++) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; v++) {
      Vec right = load(g + block * g_block + v * kWidth);
#pragma GCC unroll 8
      for (int m = 0; m < M; m++) total[m][v % kSums] += load(x[m] + block * x_block + v * kWidth) * right;
    }
  }
  for (int m = 0; m < M; m++) {
    Vec all = total[m][0];
    for (int s = 1; s < kSums; s++) all += total[m][s];
    to[m] = sum(all);
  }
}

// The gradients of all values. Those of weights from constant units, which have the values `settled`, are products with
// the gradients of the biases.
void sparse_weights(const Layer& layer, const float* x, int64_t x_block, const float* g, int64_t g_block,
                    int64_t blocks, const float* settled, const float* of_bias, float* gradient) {
  for (int32_t l = 0; l < layer.varying_count; l++) {
    int32_t j = layer.live[l], k = layer.row_start[j], end = layer.row_constant[j];
    const float* gj = g + int64_t{j} * kBlock;
    const float* rows[8];
    for (; k + 8 <= end; k += 8) {
      for (int m = 0; m < 8; m++) rows[m] = x + int64_t{layer.row_input[k + m]} * kBlock;
      row_products<8>(rows, x_block, gj, g_block, blocks, gradient + k);
    }
    for (; k + 2 <= end; k += 2) {
      for (int m = 0; m < 2; m++) rows[m] = x + int64_t{layer.row_input[k + m]} * kBlock;
      row_products<2>(rows, x_block, gj, g_block, blocks, gradient + k);
    }
    for (; k < end; k++) {
      rows[0] = x + int64_t{layer.row_input[k]} * kBlock;
      row_products<1>(rows, x_block, gj, g_block, blocks, gradient + k);
    }
  }
  for (int32_t l = 0; l < layer.live_count; l++) {
    int32_t j = layer.live[l];
    for (int32_t k = layer.row_constant[j]; k < layer.row_start[j + 1]; k++)
      gradient[k] = settled[layer.row_input[k]] * of_bias[j];
  }
}

// ---- Networks -----------------------------------------------------------------------------------------------------

int32_t widest_outputs(const Mlp& mlp) {
  int32_t widest = 0;
  for (int32_t l = 0; l < mlp.depth; l++) widest = mlp.layer[l].out > widest ? mlp.layer[l].out : widest;
  return widest;
}

int64_t units_of(const Mlp& mlp) { return int64_t{mlp.features} + mlp.layer[mlp.depth - 1].out; }

int64_t kept_floats(const Mlp& mlp, int64_t batch) {
  return blocks_of(batch) * kBlock * mlp.features + units_of(mlp);
}

// Whether a layer's constant units have rows like all others: if they are outputs, or if a full layer reads them.
bool needs_rows(const Mlp& mlp, int32_t l) { return l + 1 == mlp.depth || mlp.layer[l + 1].kind == kFull; }

// Forward: one block of all units, their settled numbers, and the weights of full layers as panels. Backward: the
// gradients of two layers' outputs, and additionally either some blocks of these transposed or one block of the inputs'
// gradients.
int64_t scratch_floats(const Mlp& mlp, int64_t batch) {
  int64_t blocks = blocks_of(batch), columns = blocks * kBlock, widest = widest_outputs(mlp);
  int64_t forward = units_of(mlp) * (kBlock + 1);
  for (int32_t l = 0; l < mlp.depth; l++) forward += mlp.layer[l].kind == kFull ? mlp.layer[l].count : 0;
  int64_t by_column = padded(widest) * transposed(blocks) * kBlock, inputs = int64_t{mlp.layer[0].in} * kBlock;
  int64_t backward = 2 * widest * columns + (by_column > inputs ? by_column : inputs);
  return forward > backward ? forward : backward;
}

// (batch, columns) -> rows of one block, zeros beyond the batch.
void pack(const Pair& inputs, int64_t start, int64_t batch, float* to) {
  int64_t count = batch - start < kBlock ? batch - start : kBlock;
  for (int part = 0; part < 2; part++) {
    int32_t columns = inputs.columns[part], i = 0;
    const float* from = inputs.data[part] + start * columns;
    if (count == kBlock && columns >= kTransposed)
      for (; i < columns; i += kTransposed) {
        if (i + kTransposed > columns) i = columns - kTransposed;  // the last tile overlaps the previous one
        for (int b = 0; b < kBlock; b += kWidth)
          transpose(from + b * columns + i, columns, to + i * kBlock + b, kBlock);
      }
    for (; i < columns; i++) {
      for (int64_t b = 0; b < count; b++) to[i * kBlock + b] = from[b * columns + i];
      for (int64_t b = count; b < kBlock; b++) to[i * kBlock + b] = 0.0f;
    }
    to += int64_t{columns} * kBlock;
  }
}

// The first rows of one block -> (batch, columns).
void unpack(const float* from, int64_t start, int64_t batch, int32_t columns, float* to) {
  int64_t count = batch - start < kBlock ? batch - start : kBlock;
  for (int64_t b = 0; b < count; b++)
    for (int32_t i = 0; i < columns; i++) to[(start + b) * columns + i] = from[i * kBlock + b];
}

void forward(const Mlp& mlp, const float* parameters, const Pair& inputs, int64_t batch, float* outputs, float* kept,
             float* scratch) {
  int64_t x_block = int64_t{mlp.features} * kBlock;
  float *last = scratch, *activations = scratch + int64_t{mlp.layer[mlp.depth - 1].out} * kBlock;
  float* panels = activations + x_block + units_of(mlp);
  float* settled = kept ? kept + blocks_of(batch) * x_block : activations + x_block;
  for (int32_t l = 0; l < mlp.depth; l++)
    if (mlp.layer[l].kind == kFull) {
      to_panels(parameters + mlp.layer[l].offset, mlp.layer[l].in, mlp.layer[l].out, panels);
      panels += mlp.layer[l].count;
    }
  settle(mlp, parameters, settled);
  for (int64_t block = 0; block < blocks_of(batch); block++) {
    float* x = kept ? kept + block * x_block : activations;
    const float *of_outputs = settled, *weights_of_full = activations + x_block + units_of(mlp);
    pack(inputs, block * kBlock, batch, x);
    for (int32_t l = 0; l < mlp.depth; l++) {
      const Layer& layer = mlp.layer[l];
      bool hidden = l + 1 < mlp.depth, rectifies = hidden && mlp.activation == kRelu;
      float* y = hidden ? x + int64_t{layer.in} * kBlock : last;
      const float *weights = parameters + layer.offset, *bias = weights + layer.count;
      of_outputs += layer.in;
      if (layer.kind == kSparse) {
        sparse_forward(layer, weights, of_outputs, x, y, rectifies, needs_rows(mlp, l));
      } else {
        by_rows(layer.out, DenseForward{weights_of_full, bias, layer.in, x, y, rectifies});
        weights_of_full += layer.count;
      }
      if (hidden && mlp.activation == kTanh) tanh_of_units(layer, y);
      x = y;
    }
    unpack(last, block * kBlock, batch, mlp.layer[mlp.depth - 1].out, outputs);
  }
}

// `settled` has the values of the layer's constant inputs. The biases of constant outputs without rows have their
// gradients already.
void layer_gradient(const Layer& layer, const float* x, int64_t x_block, const float* g, int64_t g_block,
                    int64_t blocks, const float* settled, bool rows_of_constants, float* gradient, float* scratch) {
  float* of_values = gradient + layer.offset;
  float* of_bias = of_values + layer.count;
  if (rows_of_constants && layer.live_count < layer.out) zero(of_bias, layer.out);
  for (int32_t l = 0; l < (rows_of_constants ? layer.live_count : layer.varying_count); l++) {
    int32_t j = layer.live[l];
    Vec total[kVectors] = {};
    for (int64_t block = 0; block < blocks; block++)
      for (int v = 0; v < kVectors; v++) total[v] += load(g + block * g_block + int64_t{j} * kBlock + v * kWidth);
    Vec all = total[0];
    for (int v = 1; v < kVectors; v++) all += total[v];
    of_bias[j] = sum(all);
  }
  if (layer.kind == kSparse) {
    if (layer.live_count < layer.out) zero(of_values, layer.count);
    sparse_weights(layer, x, x_block, g, g_block, blocks, settled, of_bias, of_values);
    return;
  }
  int64_t first = 0;
  do {  // once without any blocks: their gradients are zero
    int64_t count = transposed(blocks - first);
    by_column(g + first * g_block, g_block, layer.out, count, scratch);
    by_rows(layer.in, DenseWeights{x + first * x_block, x_block, scratch, count, layer.out, first > 0, of_values});
    first += kTransposedBlocks;
  } while (first < blocks);
}

// Proceeds layer by layer, so that a layer's weights and the gradient of its outputs are read while in the cache.
void backward(const Mlp& mlp, const float* parameters, const float* kept, int64_t batch, const float* output_gradient,
              float* gradient, float* const input_gradient[2], const int32_t columns[2], float* scratch) {
  int64_t blocks = blocks_of(batch), x_block = int64_t{mlp.features} * kBlock;
  int32_t widest = widest_outputs(mlp), last = mlp.depth - 1;
  int64_t floats = int64_t{widest} * blocks * kBlock;
  float *g = scratch, *g_below = scratch + floats;  // gradients of a layer's outputs, and of the outputs of the layer below
  scratch += 2 * floats;
  const float* x = kept + x_block - int64_t{mlp.layer[last].in} * kBlock;  // the layer's input
  const float* settled = kept + blocks * x_block + mlp.features - mlp.layer[last].in;
  Pair given = {{output_gradient, output_gradient}, {mlp.layer[last].out, 0}};
  for (int64_t block = 0; block < blocks; block++)
    pack(given, block * kBlock, batch, g + block * mlp.layer[last].out * kBlock);
  for (int32_t l = last; l > 0; l--) {
    const Layer &layer = mlp.layer[l], &below = mlp.layer[l - 1];
    const float* weights = parameters + layer.offset;
    int64_t g_block = int64_t{layer.out} * kBlock, to_block = int64_t{layer.in} * kBlock;
    if (gradient) {
      layer_gradient(layer, x, x_block, g, g_block, blocks, settled, needs_rows(mlp, l), gradient, scratch);
      if (layer.kind == kSparse)
        constant_gradients(layer, mlp.activation, weights, gradient + layer.offset + layer.count, below, settled,
                           gradient + below.offset + below.count);
    }
    for (int64_t block = 0; block < blocks; block++) {
      const float *gb = g + block * g_block, *xb = x + block * x_block;
      const float* rectified_at = mlp.activation == kRelu ? xb : nullptr;
      float* to = g_below + block * to_block;
      if (layer.kind == kSparse) {
        if (below.kind == kFull && below.live_count < below.out) zero(to, to_block);
        sparse_backward(layer, weights, below.live, below.varying_count, 0, gb, rectified_at, to);
      } else {
        by_rows(layer.in, DenseBackward{weights, layer.out, 0, gb, rectified_at, to});
      }
      if (mlp.activation == kTanh)
        tanh_gradient_of_units(below, layer.kind == kSparse ? below.varying_count : below.live_count, xb, to);
    }
    x -= int64_t{below.in} * kBlock;
    settled -= below.in;
    float* other = g;
    g = g_below;
    g_below = other;
  }
  const Layer& layer = mlp.layer[0];
  int64_t g_block = int64_t{layer.out} * kBlock;
  if (gradient)
    layer_gradient(layer, x, x_block, g, g_block, blocks, settled, needs_rows(mlp, 0), gradient, scratch);
  if (!input_gradient[0] && !input_gradient[1]) return;
  int32_t first = input_gradient[0] ? 0 : columns[0], rows = (input_gradient[1] ? layer.in : columns[0]) - first;
  const float* weights = parameters + layer.offset;
  for (int64_t block = 0; block < blocks; block++) {
    const float* gb = g + block * g_block;
    if (layer.kind == kSparse)
      sparse_backward(layer, weights, nullptr, rows, first, gb, nullptr, scratch);
    else
      by_rows(rows, DenseBackward{weights, layer.out, first, gb, nullptr, scratch});
    if (input_gradient[0]) unpack(scratch, block * kBlock, batch, columns[0], input_gradient[0]);
    if (input_gradient[1])
      unpack(scratch + int64_t{columns[0]} * kBlock, block * kBlock, batch, columns[1], input_gradient[1]);
  }
}

// ---- Acting -------------------------------------------------------------------------------------------------------
//
// A few observations at a time. For each of them the same numbers are added in the same order, whatever their number,
// so that an agent acts in several environments as it does in one.

constexpr int kTogether = kWidth;    // observations that pass through a layer together
constexpr int32_t kTileInputs = 256; // the most inputs of a tile of weights that all of them read
constexpr int32_t kTileFloats = 4096;

// y += a[0] weights[0] + a[1] weights[1] + ..., added one after the other.
template <int N>
RLOTTERY_INLINE void add_products(const float* a, const float* const* weights, int32_t out, float* y) {
  int32_t j = 0;
  for (; j + kWidth <= out; j += kWidth) {
    Vec total = load(y + j);
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) total += splat(a[n]) * load(weights[n] + j);
    store(y + j, total);
  }
  for (; j < out; j++) {
    float total = y[j];
    for (int n = 0; n < N; n++) total += a[n] * weights[n][j];
    y[j] = total;
  }
}

// y += x weights for the inputs from `first` to `last` - 1 that aren't zero: about half of the units after ReLU.
void add_inputs(const float* weights, int32_t out, int32_t first, int32_t last, const float* x, float* y) {
  int32_t active[kTileInputs], count = 0, k = 0;
  for (int32_t i = first; i < last; i++) {
    active[count] = i;
    count += x[i] != 0.0f;
  }
  const float* rows[4];
  float a[4];
  auto gather = [&](int n) {
    for (int m = 0; m < n; m++) {
      a[m] = x[active[k + m]];
      rows[m] = weights + int64_t{active[k + m]} * out;
    }
  };
  for (; k + 4 <= count; k += 4) {
    gather(4);
    add_products<4>(a, rows, out, y);
  }
  gather(count - k);
  switch (count - k) {
    case 3: add_products<3>(a, rows, out, y); break;
    case 2: add_products<2>(a, rows, out, y); break;
    case 1: add_products<1>(a, rows, out, y); break;
    default: break;
  }
}

// (count, in) -> (count, out), before the activation function.
void dense_act(const Layer& layer, const float* weights, const float* bias, const float* x, int count, float* y) {
  int32_t in = layer.in, out = layer.out;
  for (int c = 0; c < count; c++)
    for (int32_t j = 0; j < out; j++) y[c * out + j] = bias[j];
  int32_t tile = count == 1 ? kTileInputs : kTileFloats / out;
  tile = tile < 8 ? 8 : tile > kTileInputs ? kTileInputs : tile;
  for (int32_t first = 0; first < in; first += tile) {
    int32_t last = in - first < tile ? in : first + tile;
    for (int c = 0; c < count; c++) add_inputs(weights, out, first, last, x + int64_t{c} * in, y + int64_t{c} * out);
  }
}

// (in) -> (out), before the activation function. Compiled once for all: whether compilers fuse multiplications and
// additions here depends on how they vectorise the loop.
__attribute__((noinline)) void sparse_act(const Layer& layer, const float* values, const float* bias, const float* x,
                                          float* y) {
  for (int32_t j = 0; j < layer.out; j++) {
    float total = bias[j];
    for (int32_t k = layer.row_start[j]; k < layer.row_start[j + 1]; k++) total += values[k] * x[layer.row_input[k]];
    y[j] = total;
  }
}

// All units of as many observations as pass together.
int64_t act_floats(const Mlp& mlp) {
  int64_t units = 0;
  for (int32_t l = 0; l < mlp.depth; l++) units += mlp.layer[l].out;
  return units * kTogether;
}

void act(const Mlp& mlp, const float* parameters, const float* inputs, int64_t batch, float* outputs, float* scratch) {
  for (int64_t start = 0; start < batch; start += kTogether) {
    int count = batch - start < kTogether ? static_cast<int>(batch - start) : kTogether;
    const float* x = inputs + start * mlp.layer[0].in;
    float* next = scratch;
    for (int32_t l = 0; l < mlp.depth; l++) {
      const Layer& layer = mlp.layer[l];
      bool hidden = l + 1 < mlp.depth;
      float* y = hidden ? next : outputs + start * layer.out;
      const float *values = parameters + layer.offset, *bias = values + layer.count;
      if (layer.kind == kFull)
        dense_act(layer, values, bias, x, count, y);
      else
        for (int c = 0; c < count; c++) sparse_act(layer, values, bias, x + c * layer.in, y + c * layer.out);
      int64_t size = int64_t{count} * layer.out;
      if (hidden && mlp.activation == kTanh)
        apply_tanh(y, size);
      else if (hidden)
        for (int64_t u = 0; u < size; u++) y[u] = y[u] > 0.0f ? y[u] : 0.0f;
      x = y;
      next += size;
    }
  }
}

// ---- Random numbers -----------------------------------------------------------------------------------------------

template <int kRotation>
RLOTTERY_INLINE void mix(Bits& a, Bits& b) {
  a += b;
  b = ((b << kRotation) | (b >> (32 - kRotation))) ^ a;
}

struct Words {
  Bits high, low;
};

// Threefry-2x32 of counters whose high words are 0.
RLOTTERY_INLINE Words threefry(const uint32_t key[2], Bits counter) {
  const uint32_t keys[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDAu};
  Bits a = keys[0] - Bits{}, b = counter + keys[1];
#pragma GCC unroll 5
  for (uint32_t group = 0; group < 5; group++) {  // of four rounds
    if (group % 2) {
      mix<17>(a, b), mix<29>(a, b), mix<16>(a, b), mix<24>(a, b);
    } else {
      mix<13>(a, b), mix<15>(a, b), mix<26>(a, b), mix<6>(a, b);
    }
    a += keys[(group + 1) % 3];
    b += keys[(group + 2) % 3] + group + 1;
  }
  return {a, b};
}

// Calls f(i, words, number of words) for the words of counters i, i + 1, ... from 0 to count - 1.
template <typename F>
RLOTTERY_INLINE void for_words(const uint32_t key[2], int64_t count, F f) {
  Bits counter;
  for (int c = 0; c < kWidth; c++) counter[c] = c;
  for (int64_t i = 0; i < count; i += kWidth, counter += kWidth)
    f(i, threefry(key, counter), count - i < kWidth ? static_cast<int>(count - i) : kWidth);
}

template <typename Vector, typename Number>
RLOTTERY_INLINE void store_first(Vector from, int count, Number* to) {
  if (count == kWidth)
    __builtin_memcpy(to, &from, sizeof from);
  else
    for (int c = 0; c < count; c++) to[c] = from[c];
}

void random_words(const uint32_t key[2], int64_t count, uint32_t* high, uint32_t* low) {
  for_words(key, count, [=](int64_t i, Words words, int number) {
    store_first(words.high, number, high + i);
    store_first(words.low, number, low + i);
  });
}

// log(1 + x) for -1 < x <= 0, with the coefficients of the Cephes library (Moshier 1992): a rational function near 0,
// otherwise a polynomial of the fraction of 1 + x, and its exponent times ln 2. It rounds as XLA's `log1p` does on
// processors with fused multiplications and additions (jaxlib 0.10.2).
RLOTTERY_INLINE Vec log_of_1_plus(Vec x) {
  Vec square = x * x;
  Vec p = x * 0x1.7bc096p-15f + 0x1.fe818ap-2f;
  p = p * x + 0x1.a509f4p+2f;
  p = p * x + 0x1.de9738p+4f;
  p = p * x + 0x1.e798ecp+5f;
  p = p * x + 0x1.c8e75ap+5f;
  p = p * x + 0x1.40a202p+4f;
  Vec q = x + 0x1.e2035ap+3f;
  q = q * x + 0x1.4c30b6p+6f;
  q = q * x + 0x1.bb865ap+7f;
  q = q * x + 0x1.351946p+8f;
  q = q * x + 0x1.b0db14p+7f;
  q = q * x + 0x1.e0f304p+5f;
  Vec near = x + fused(square, splat(-0.5f), (x * square) * (p / q));

  constexpr float kRootOfHalf = 0x1.6a09e6p-1f;
  Bits bits = (Bits)(x + 1.0f);
  Vec exponent = __builtin_convertvector((Integers)(bits >> 23) - 127, Vec) + 1.0f;
  Vec fraction = (Vec)((bits & 0x807fffffu) | 0x3f000000u);  // 0.5 to 1
  auto is_low = fraction < kRootOfHalf;
  exponent -= is_low ? splat(1.0f) : Vec{};
  Vec z = (fraction - 1.0f) + (is_low ? fraction : Vec{});
  Vec z2 = z * z, z3 = z2 * z;
  Vec a = z * 0x1.204376p-4f - 0x1.d7a37p-4f, b = z * -0x1.fcba9ep-4f + 0x1.23d37ep-3f;
  Vec c = z * 0x1.999d58p-3f - 0x1.fffff8p-3f;
  a = a * z + 0x1.de4a34p-4f;
  b = b * z - 0x1.555cap-3f;
  c = c * z + 0x1.555554p-2f;
  b += a * z3;
  c += b * z3;
  Vec rest = fused(c, z3, exponent * kLog2Low);
  Vec far = ((z - z2 * 0.5f) + rest) + exponent * kLog2High;
  return (Vec)((Bits)x & 0x7fffffffu) < 0x1.a8279ap-2f ? near : far;
}

// The standard normal numbers of random bits: sqrt(2) times the inverse of the error function at a number that is
// uniform between -1 and 1 (Giles 2010, "Approximating the erfinv function", single precision).
RLOTTERY_INLINE Vec normal_of(Bits bits) {
  constexpr float kLeast = -0x1.fffffep-1f;
  constexpr float kCentral[] = {0x1.e2cb1p-26f,  0x1.70966cp-22f, -0x1.d8e6aep-19f, -0x1.26b582p-18f, 0x1.ca65b6p-13f,
                                -0x1.48a81p-10f, -0x1.11c9dep-8f, 0x1.f91ec6p-3f,   0x1.805c5ep0f};
  constexpr float kTail[] = {-0x1.a3e136p-13f, 0x1.a76ad6p-14f, 0x1.61b8e4p-10f, -0x1.e17bcep-9f, 0x1.7824f6p-8f,
                             -0x1.f38baep-8f,  0x1.354afcp-7f,  0x1.006db6p0f,   0x1.6a9efcp1f};
  Vec x = ((Vec)((bits >> 9) | 0x3f800000u) - 1.0f) * 2.0f + kLeast;
  x = x > splat(kLeast) ? x : splat(kLeast);
  Vec log = log_of_1_plus(-(x * x));
  auto is_central = log > -5.0f;
  Vec w = is_central ? -2.5f - log : square_root(-log) - 3.0f;
  Vec p = is_central ? splat(kCentral[0]) : splat(kTail[0]);
#pragma GCC unroll 8
  for (int i = 1; i < 9; i++) p = p * w + (is_central ? splat(kCentral[i]) : splat(kTail[i]));
  return (p * x) * 0x1.6a09e6p0f;
}

void normals(const uint32_t key[2], int64_t count, float* to) {
  for_words(key, count, [=](int64_t i, Words words, int number) {
    store_first(normal_of(words.high ^ words.low), number, to + i);
  });
}

// ---- Adam ---------------------------------------------------------------------------------------------------------

// A number divided by another one, with its reciprocal. This is the correctly rounded quotient (Markstein 1990,
// "Computation of elementary functions"), but for numbers below 1e-30, whose rounding errors are flushed to zero. Their
// roots are far below Adam's epsilon.
RLOTTERY_INLINE Vec quotient(Vec number, float divisor, float reciprocal) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  Vec close = number * reciprocal, exact = fused(fused(-close, splat(divisor), number), splat(reciprocal), close);
  return exact == exact ? exact : close;  // infinity
#else
  return number / divisor;
#endif
}

// It rounds as XLA does in optax's `adam` on processors with fused multiplications and additions (jaxlib 0.10.2).
template <bool kDivides>
RLOTTERY_INLINE void adam_vector(const AdamStep& step, const float (&reciprocal)[2], Vec gradient, float* weights,
                                 float* mean, float* square) {
  Vec m = fused(gradient, splat(step.rest[0]), load(mean) * step.decay[0]);
  Vec v = fused(gradient * gradient, splat(step.rest[1]), load(square) * step.decay[1]);
  store(mean, m);
  store(square, v);
  Vec root = square_root(kDivides ? quotient(v, step.share[1], reciprocal[1]) : v * reciprocal[1]) + step.epsilon;
  Vec direction = kDivides ? m / (root * step.share[0]) : (m * reciprocal[0]) / root;
  store(weights, fused(direction, splat(step.change), load(weights)));
}

template <bool kDivides>
void adam_steps(const AdamStep step, int64_t count, const float* gradient, float* weights, float* mean, float* square) {
  const float reciprocal[2] = {1.0f / step.share[0], 1.0f / step.share[1]};
  int64_t whole = count / kWidth * kWidth;
  for (int64_t i = 0; i < whole; i += kWidth)
    adam_vector<kDivides>(step, reciprocal, load(gradient + i), weights + i, mean + i, square + i);
  float* const all[3] = {weights, mean, square};
  float last[4][kWidth] = {};
  for (int64_t c = whole; c < count; c++) {
    last[3][c - whole] = gradient[c];
    for (int n = 0; n < 3; n++) last[n][c - whole] = all[n][c];
  }
  adam_vector<kDivides>(step, reciprocal, load(last[3]), last[0], last[1], last[2]);
  for (int64_t c = whole; c < count; c++)
    for (int n = 0; n < 3; n++) all[n][c] = last[n][c - whole];
}

void adam(const AdamStep& step, int64_t count, const float* gradient, float* weights, float* mean, float* square) {
  (step.divides ? adam_steps<true> : adam_steps<false>)(step, count, gradient, weights, mean, square);
}

}  // namespace

extern const Kernels RLOTTERY_TABLE;
const Kernels RLOTTERY_TABLE = {forward, backward,    act,           random_words, normals,
                                adam,    kept_floats, scratch_floats, act_floats};

}  // namespace rlottery
