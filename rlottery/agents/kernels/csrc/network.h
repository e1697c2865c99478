// Converts the numbers that Python and JAX pass to an `Mlp`. They come from `rlottery/agents/kernels/layout.py`.
#pragma once
#include <cstddef>

#include "mlp.h"

namespace rlottery {

// The numbers describe a network: its widths from input to output, then kind and count of each layer.
// Returns what is wrong, or null.
inline const char* read_network(const int64_t* numbers, size_t length, int64_t activation, const int32_t* pattern,
                                int64_t pattern_length, int64_t parameter_count, Mlp* mlp) {
  if (activation != kRelu && activation != kTanh) return "an unknown activation function";
  mlp->activation = static_cast<Activation>(activation);
  if (length < 4 || (length - 1) % 3 != 0 || (length - 1) / 3 > kMaxLayers) return "a network in an unknown format";
  mlp->depth = static_cast<int32_t>((length - 1) / 3);
  const int64_t* layers = numbers + mlp->depth + 1;
  const int32_t* next = pattern;
  int64_t offset = 0;
  mlp->features = 0;
  for (int32_t l = 0; l < mlp->depth; l++) {
    Layer& layer = mlp->layer[l];
    layer.in = static_cast<int32_t>(numbers[l]);
    layer.out = static_cast<int32_t>(numbers[l + 1]);
    layer.kind = static_cast<Kind>(layers[2 * l]);
    layer.count = layers[2 * l + 1];
    layer.offset = offset;
    offset += layer.count + layer.out;
    mlp->features += layer.in;
    if (layer.in < 1 || layer.out < 1 || layer.count < 0) return "a layer without units";
    if (layer.kind == kFull && layer.count != int64_t{layer.in} * layer.out)
      return "a full layer with a wrong number of weights";
    int64_t needed = 2 + int64_t{layer.out};
    if (layer.kind != kFull) needed += 2 * int64_t{layer.out} + 1 + int64_t{layer.in} + 1 + 3 * layer.count;
    if (pattern_length - (next - pattern) < needed) return "a pattern that is too short";
    layer.live_count = *next++;
    layer.varying_count = *next++;
    layer.live = next;
    next += layer.out;
    if (layer.kind == kFull) continue;
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
  }
  if (next - pattern != pattern_length) return "a pattern of another network";
  if (offset != parameter_count) return "parameters of another network";
  return nullptr;
}

}  // namespace rlottery
