// The product of a layer, y (out, batch) = W (out, in) x (in, batch), in float32 and with operands rounded to bfloat16
// and sums in float32. As in the kernels, a block of 64 columns passes through the layer at a time, and a tile of sums
// stays in registers. Sizes are multiples of 64.
#include <immintrin.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace {

constexpr int kBlock = 64, kRows = 6, kVectors = 4, kTile = 16;

struct Memory {  // of one product, as (in, block) blocks of x and of y
  int in, out, blocks;
  std::vector<float> w, x, y;         // w: (in, out)
  std::vector<float> panels;          // w, for each 6 outputs (in, 6)
  std::vector<uint32_t> w_pairs;      // the same of two inputs' weights at a time; for AMX tiles (in / 2, out)
  std::vector<uint32_t> x_pairs;      // two inputs at a time: (blocks, in / 2, block); for AMX tiles (batch, in / 2)
};

__m512i rounded(__m512 value) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(value)); }

// Pairs of bfloat16 from two rows of `count` numbers: the first row's are in the lower halves.
void pair(const float* first, const float* second, int count, uint32_t* to) {
  for (int i = 0; i < count; i += 16) {
    __m512i low = rounded(_mm512_loadu_ps(first + i)), high = rounded(_mm512_loadu_ps(second + i));
    _mm512_storeu_si512(to + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }
}

void pack_float32(Memory& m) {
  for (int j = 0; j < m.out; j += kRows)
    for (int k = 0; k < m.in; k++)
      for (int r = 0; r < kRows; r++) m.panels[int64_t{j} * m.in + k * kRows + r] = m.w[int64_t{k} * m.out + j + r];
}

void multiply_float32(Memory& m) {
  for (int b = 0; b < m.blocks; b++)
    for (int j = 0; j < m.out; j += kRows) {
      const float *w = &m.panels[int64_t{j} * m.in], *x = &m.x[int64_t{b} * m.in * kBlock];
      __m512 sums[kRows][kVectors] = {};
      for (int k = 0; k < m.in; k++, w += kRows, x += kBlock) {
        __m512 right[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) right[v] = _mm512_loadu_ps(x + 16 * v);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; v++) sums[r][v] = _mm512_fmadd_ps(_mm512_set1_ps(w[r]), right[v], sums[r][v]);
      }
      for (int r = 0; r < kRows; r++)
        for (int v = 0; v < kVectors; v++)
          _mm512_storeu_ps(&m.y[(int64_t{b} * m.out + j + r) * kBlock + 16 * v], sums[r][v]);
    }
}

void convert_inputs(Memory& m) {
  for (int b = 0; b < m.blocks; b++)
    for (int k = 0; k < m.in; k += 2) {
      const float* x = &m.x[(int64_t{b} * m.in + k) * kBlock];
      pair(x, x + kBlock, kBlock, &m.x_pairs[(int64_t{b} * m.in + k) / 2 * kBlock]);
    }
}

void pack_vectors(Memory& m) {
  static std::vector<uint32_t> row;
  row.resize(m.out + 16);
  for (int k = 0; k < m.in; k += 2) {
    pair(&m.w[int64_t{k} * m.out], &m.w[int64_t{k + 1} * m.out], m.out, row.data());
    for (int j = 0; j < m.out; j += kRows)
      for (int r = 0; r < kRows; r++) m.w_pairs[int64_t{j} * m.in / 2 + k / 2 * kRows + r] = row[j + r];
  }
}

void multiply_vectors(Memory& m) {
  for (int b = 0; b < m.blocks; b++)
    for (int j = 0; j < m.out; j += kRows) {
      const uint32_t *w = &m.w_pairs[int64_t{j} * m.in / 2], *x = &m.x_pairs[int64_t{b} * m.in / 2 * kBlock];
      __m512 sums[kRows][kVectors] = {};
      for (int k = 0; k < m.in; k += 2, w += kRows, x += kBlock) {
        __m512bh right[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) right[v] = (__m512bh)_mm512_loadu_si512(x + 16 * v);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; v++)
            sums[r][v] = _mm512_dpbf16_ps(sums[r][v], (__m512bh)_mm512_set1_epi32((int)w[r]), right[v]);
      }
      for (int r = 0; r < kRows; r++)
        for (int v = 0; v < kVectors; v++)
          _mm512_storeu_ps(&m.y[(int64_t{b} * m.out + j + r) * kBlock + 16 * v], sums[r][v]);
    }
}

// Tiles multiply rows of x (batch, in) by pairs of rows of W (in, out), so nothing is transposed.
void pack_tiles(Memory& m) {
  for (int k = 0; k < m.in; k += 2)
    pair(&m.w[int64_t{k} * m.out], &m.w[int64_t{k + 1} * m.out], m.out, &m.w_pairs[int64_t{k} / 2 * m.out]);
}

void convert_rows(Memory& m) {
  auto* to = reinterpret_cast<uint16_t*>(m.x_pairs.data());
  for (int64_t i = 0; i < int64_t(m.x.size()); i += 32)
    _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(&m.x[i + 16]), _mm512_loadu_ps(&m.x[i])));
}

void multiply_tiles(Memory& m) {
  const int x_row = m.in / 2, batch = m.blocks * kBlock;
  for (int b = 0; b < batch; b += 2 * kTile)
    for (int j = 0; j < m.out; j += 2 * kTile) {
      const uint32_t *x = &m.x_pairs[int64_t{b} * x_row], *w = &m.w_pairs[j];
      float* y = &m.y[int64_t{b} * m.out + j];
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int k = 0; k < m.in; k += 2 * kTile, x += kTile, w += kTile * m.out) {
        _tile_loadd(4, x, x_row * 4);
        _tile_loadd(5, x + kTile * x_row, x_row * 4);
        _tile_loadd(6, w, m.out * 4);
        _tile_loadd(7, w + kTile, m.out * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, y, m.out * 4);
      _tile_stored(1, y + kTile, m.out * 4);
      _tile_stored(2, y + kTile * m.out, m.out * 4);
      _tile_stored(3, y + kTile * m.out + kTile, m.out * 4);
    }
}

bool has_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (!__builtin_cpu_supports("amx-bf16") || syscall(SYS_arch_prctl, kRequest, kTileData)) return false;
  alignas(64) static struct {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } tiles;
  _tile_loadconfig(&tiles);
  return true;
}

// `by_rows`: x is (batch, in) and y (batch, out), as tiles have them.
double largest_error(const Memory& m, bool by_rows) {
  double most = 0, apart = 0;
  for (int c = 0; c < kBlock; c++)
    for (int j = 0; j < m.out; j++) {
      double exact = 0, found = by_rows ? m.y[c * m.out + j] : m.y[j * kBlock + c];
      for (int k = 0; k < m.in; k++)
        exact += double(m.w[int64_t{k} * m.out + j]) * (by_rows ? m.x[c * m.in + k] : m.x[k * kBlock + c]);
      most = std::max(most, std::abs(exact));
      apart = std::max(apart, std::abs(exact - found));
    }
  return apart / most;
}

double now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

}  // namespace

// Seconds of CPU time for one product, or a negative number where the processor can't. Parts: 0 float32, 1 bfloat16 by
// vectors, 2 bfloat16 by tiles; `converts`: with what has to be done to the operands before each product. `error`, if not
// null: the largest difference from the exact product in the first block, relative to the largest number there.
extern "C" __attribute__((visibility("default"))) double seconds(int part, int converts, int in, int out, int batch, int times, double* error) {
  if ((part == 1 && !__builtin_cpu_supports("avx512bf16")) || (part == 2 && !has_tiles())) return -1;
  int64_t padded = (out + kRows - 1) / kRows * kRows;
  Memory m{in, part == 2 ? out : int(padded), batch / kBlock, {}, {}, {}, {}, {}, {}};
  out = m.out;
  m.w.resize(int64_t{in} * out + 16), m.x.resize(int64_t{in} * batch), m.y.resize(int64_t{out} * batch);
  m.panels.resize(m.w.size()), m.w_pairs.resize(m.w.size());
  m.x_pairs.resize(m.x.size() / 2);
  std::srand(0);
  for (auto* numbers : {&m.w, &m.x})
    for (float& number : *numbers) number = float(std::rand()) / float(RAND_MAX) - 0.5f;
  auto pack = [&] { part == 0 ? pack_float32(m) : part == 1 ? pack_vectors(m) : pack_tiles(m); };
  auto multiply = [&] { part == 0 ? multiply_float32(m) : part == 1 ? multiply_vectors(m) : multiply_tiles(m); };
  auto convert = [&] { part == 1 ? convert_inputs(m) : part == 2 ? convert_rows(m) : void(); };
  pack(), convert(), multiply();
  if (error) *error = largest_error(m, part == 2);
  double began = now();
  for (int i = 0; i < times; i++) {
    if (converts) {
      pack();
      convert();
    }
    multiply();
  }
  return (now() - began) / times;
}
