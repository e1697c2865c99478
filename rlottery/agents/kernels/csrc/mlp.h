// A multilayer perceptron as the kernels see it, and what they do with it. No standard headers beyond plain integers
// here: files that include this are compiled for other instruction sets, and nothing inline may leak out of them.
#pragma once
#include <cstdint>

namespace rlottery {

constexpr int kBlock = 64;       // columns of the batch that are worked on together
constexpr int kMaxLayers = 64;

enum Kind : int32_t {
  kFull = 0,    // every weight is there: values are (in, out), row by row
  kSparse = 1,  // values of the survivors, and nothing else is touched
};

// Survivors are ordered by output unit, then by input unit. "Live" units have a way to the network's output.
struct Layer {
  int32_t in, out;
  Kind kind;
  int64_t count;                // values: in * out, or the survivors
  int64_t offset;               // of the values in the parameters; the biases follow them
  const int32_t* live;          // output units that are live, ascending
  int32_t live_count;
  const int32_t* row_start;     // (out + 1): survivors of output unit j are row_start[j] to row_start[j + 1] - 1
  const int32_t* row_input;     // (count): their input units
  const int32_t* column_start;  // (in + 1): likewise by input unit, those into live output units only
  const int32_t* column_output; // (count)
  const int32_t* column_value;  // (count): where their values are
};

struct Mlp {
  int32_t depth;
  Layer layer[kMaxLayers];
  int32_t features;  // inputs and hidden units: rows of the activations that backward needs
};

// Two matrices (batch, columns), row by row, side by side: observations and actions, say. `columns[1]` may be 0.
struct Pair {
  const float* data[2];
  int32_t columns[2];
};

// Activations and their gradients lie in blocks: (ceil(batch / kBlock), units, kBlock).
struct Kernels {
  // Writes outputs (batch, out) and, unless it is null, `kept`: inputs and hidden activations, (blocks, features, kBlock).
  void (*forward)(const Mlp&, const float* parameters, const Pair& inputs, int64_t batch, float* outputs, float* kept,
                  float* scratch);
  // From the outputs' gradient to that of the parameters and of both inputs; what is null is left out.
  void (*backward)(const Mlp&, const float* parameters, const float* kept, int64_t batch, const float* output_gradient,
                   float* gradient, float* const input_gradient[2], const int32_t columns[2], float* scratch);
  // One observation (in) to one output (out).
  void (*act)(const Mlp&, const float* parameters, const float* inputs, float* outputs, float* scratch);
  // How much scratch forward and backward take at most.
  int64_t (*scratch_floats)(const Mlp&, int64_t batch);
};

extern const Kernels kAvx512, kAvx2, kPortable;

}  // namespace rlottery
