// Converts the numbers that Python and JAX pass to an `Mlp`. They come from `rlottery/agents/kernels/layout.py`.
#pragma once
#include <cstddef>

#include "mlp.h"

namespace rlottery {

// The numbers describe a network: its widths from input to output, then the kind of each layer. How many weights survive
// in each layer is in the pattern: sizes and numbers are checked here, but not the indices in its lists.
// Returns what is wrong, or null.
inline const char* read_network(const int64_t* numbers, size_t length, int64_t activation, const int32_t* pattern,
                                int64_t pattern_length, int64_t parameter_count, Mlp* mlp) {
  if (activation != kRelu && activation != kTanh) return "an unknown activation function";
  mlp->activation = static_cast<Activation>(activation);
  if (length < 3 || length % 2 == 0 || length / 2 > kMaxLayers) return "a network in an unknown format";
  mlp->depth = static_cast<int32_t>(length / 2);
  const int64_t* kinds = numbers + mlp->depth + 1;
  const int32_t *next = pattern, *end = pattern + pattern_length;
  int64_t offset = 0;
  mlp->features = 0;
  for (int32_t l = 0; l < mlp->depth; l++) {
    Layer& layer = mlp->layer[l];
    layer.in = static_cast<int32_t>(numbers[l]);
    layer.out = static_cast<int32_t>(numbers[l + 1]);
    layer.kind = static_cast<Kind>(kinds[l]);
    layer.count = int64_t{layer.in} * layer.out;
    layer.offset = offset;
    mlp->features += layer.in;
    if (layer.in < 1 || layer.out < 1) return "a layer without units";
    if (layer.kind != kFull && layer.kind != kSparse) return "an unknown kind of layer";
    if (end - next < 2 + int64_t{layer.out} + (layer.kind == kSparse)) return "a pattern that is too short";
    layer.live_count = *next++;
    layer.varying_count = *next++;
    if (layer.varying_count < 0 || layer.live_count < layer.varying_count || layer.out < layer.live_count)
      return "a pattern with a wrong number of units";
    layer.live = next;
    next += layer.out;
    if (layer.kind == kSparse) {
      int64_t survivors = *next++;
      if (survivors < 0 || survivors > layer.count) return "a pattern with a wrong number of survivors";
      layer.count = survivors;
    }
    offset += layer.count + layer.out;
    if (layer.kind == kFull) continue;
    if (end - next < 2 * int64_t{layer.out} + int64_t{layer.in} + 2 + 3 * layer.count)
      return "a pattern that is too short";
    layer.row_start = next;
    next += layer.out + 1;
    layer.row_constant = next;
    next += layer.out;
    layer.row_input = next;
    next += layer.count;
    layer.column_start = next;
    next += layer.in + 1;
    layer.column_output = next;
    next += layer.count;
    layer.column_value = next;
    next += layer.count;
    if (layer.row_start[0] != 0 || layer.row_start[layer.out] != layer.count || layer.column_start[0] != 0 ||
        layer.column_start[layer.in] < 0 || layer.column_start[layer.in] > layer.count)
      return "a pattern with lists of wrong lengths";
  }
  mlp->size = offset;
  int64_t padding = parameter_count - offset;
  if (padding < 0) return "parameters of another network";
  if (end - next != 3 * padding) return "a pattern of another network";
  return nullptr;
}

}  // namespace rlottery
