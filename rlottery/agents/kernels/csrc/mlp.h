// A multilayer perceptron in the kernels' representation, and the kernels' functions. Includes no standard headers
// except <cstdint>: files that include this are compiled for other instruction sets, and none of their inline
// functions may be used elsewhere.
#pragma once
#include <cstdint>

namespace rlottery {

constexpr int kBlock = 64;       // columns of the batch that are processed together
constexpr int kMaxLayers = 64;

enum Kind : int32_t {
  kFull = 0,    // all weights: values are (in, out), row by row
  kSparse = 1,  // only the values of the survivors
};

enum Activation : int32_t { kRelu = 0, kTanh = 1 };  // of hidden layers

// "Live" units are connected to the network's output. Units of a sparse layer that are connected to no input of the
// network are constant: they have the same value for the whole batch. All other units vary.
// Survivors are ordered by output unit. Those of one output unit are ordered by input unit, first those from units that
// vary, then those from constant units.
struct Layer {
  int32_t in, out;
  Kind kind;
  int64_t count;                // number of values: in * out, or of survivors
  int64_t offset;               // position of the values in the parameters; the biases follow them
  const int32_t* live;          // output units that are live: those that vary, ascending, then constant ones, ascending
  int32_t live_count, varying_count;
  const int32_t* row_start;     // (out + 1): survivors of output unit j are row_start[j] to row_start[j + 1] - 1
  const int32_t* row_constant;  // (out): where the survivors of output unit j from constant units begin
  const int32_t* row_input;     // (count): their input units
  const int32_t* column_start;  // (in + 1): the same by input unit, only survivors into live output units
  const int32_t* column_output; // (count)
  const int32_t* column_value;  // (count): positions of their values
};

struct Mlp {
  int32_t depth;
  Activation activation;
  Layer layer[kMaxLayers];
  int64_t size;      // number of values and biases: padding of the parameters follows them
  int32_t features;  // inputs and hidden units: rows of the activations that backward needs
};

// Two matrices (batch, columns), row by row, that are concatenated, such as observations and actions. `columns[1]` may
// be 0.
struct Pair {
  const float* data[2];
  int32_t columns[2];
};

// A step of Adam. The number t of the step is in the shares alone.
struct AdamStep {
  float decay[2];  // of the means of gradients and of their squares,
  float rest[2];   // 1 - decay, rounded from the difference of doubles,
  float share[2];  // and 1 - decay^t
  bool divides;    // by the shares, and doesn't multiply with their reciprocals
  float epsilon;
  float change;    // minus the learning rate
};

// Activations and their gradients are stored in blocks: (ceil(batch / kBlock), units, kBlock).
struct Kernels {
  // Writes outputs (batch, out) and, if `kept` is not null, what backward needs: inputs and hidden activations,
  // (blocks, features, kBlock), then a number for each unit (`settle` in kernels.h).
  void (*forward)(const Mlp&, const float* parameters, const Pair& inputs, int64_t batch, float* outputs, float* kept,
                  float* scratch);
  // From the gradient of the outputs to those of the parameters and of both inputs. A null gradient is not computed.
  void (*backward)(const Mlp&, const float* parameters, const float* kept, int64_t batch, const float* output_gradient,
                   float* gradient, float* const input_gradient[2], const int32_t columns[2], float* scratch);
  // Observations (batch, in) to outputs (batch, out). Each output is, to the bit, what it is for its observation alone.
  void (*act)(const Mlp&, const float* parameters, const float* inputs, int64_t batch, float* outputs, float* scratch);
  // The words of counters 0 to count - 1 (fewer than 2^32) by Threefry-2x32 with 20 rounds, as in JAX (Salmon et al.
  // 2011, "Parallel random numbers: as easy as 1, 2, 3").
  void (*random_words)(const uint32_t key[2], int64_t count, uint32_t* high, uint32_t* low);
  // Standard normal numbers from these words, as JAX makes them.
  void (*normals)(const uint32_t key[2], int64_t count, float* to);
  // A step of Adam (Kingma and Ba 2015, arXiv:1412.6980) for `count` weights: changes the weights and both means.
  void (*adam)(const AdamStep&, int64_t count, const float* gradient, float* weights, float* mean, float* square);
  // The size of `kept`.
  int64_t (*kept_floats)(const Mlp&, int64_t batch);
  // The most scratch memory that forward and backward need.
  int64_t (*scratch_floats)(const Mlp&, int64_t batch);
  // The scratch memory that act needs.
  int64_t (*act_floats)(const Mlp&);
};

extern const Kernels kAvx512, kAvx2, kPortable;

}  // namespace rlottery
