// Entry points for JAX (handlers of XLA's foreign function interface) and for Python (plain functions for ctypes).
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "mlp.h"
#include "network.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace rlottery {
namespace {

#define RLOTTERY_EXPORT extern "C" __attribute__((visibility("default")))

struct Choice {
  const char* name;
  const Kernels* kernels;
};

// The widest instruction set that was compiled in and that this processor supports, or the requested one.
Choice choose() {
  const char* requested = std::getenv("RLOTTERY_KERNELS");
  [[maybe_unused]] auto wanted = [requested](const char* name) {
    return !requested || !*requested || !std::strcmp(requested, name);
  };
#if defined(RLOTTERY_HAS_AVX512)
  if (wanted("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
    return {"avx512", &kAvx512};
#endif
#if defined(RLOTTERY_HAS_AVX2)
  if (wanted("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"avx2", &kAvx2};
#endif
  return {"portable", &kPortable};
}

const Choice& chosen() {
  static const Choice choice = choose();
  return choice;
}

// Memory that a thread reuses between calls.
float* scratch(int64_t floats) {
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  thread_local std::unique_ptr<float, Free> memory;
  thread_local int64_t size = 0;
  if (floats > size) {
    int64_t bytes = (floats * 4 + 63) / 64 * 64;
    memory.reset(static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(bytes))));
    size = memory ? floats : 0;
  }
  return memory.get();
}

ffi::Error invalid(const char* why) { return ffi::Error::InvalidArgument(std::string("rlottery's kernels got ") + why); }

using Floats = ffi::Buffer<ffi::F32>;
using Matrix = ffi::BufferR2<ffi::F32>;
using Vector = ffi::BufferR1<ffi::F32>;
using Indices = ffi::BufferR1<ffi::S32>;

ffi::Error run_forward(ffi::Span<const int64_t> network, Vector parameters, Indices pattern, Matrix first,
                       Matrix second, ffi::Result<Matrix> outputs, ffi::Result<Vector> kept, int64_t activation) {
  Mlp mlp;
  if (const char* why = read_network(network.begin(), network.size(), activation, pattern.typed_data(),
                                     pattern.dimensions()[0], parameters.dimensions()[0], &mlp))
    return invalid(why);
  int64_t batch = first.dimensions()[0];
  Pair inputs = {{first.typed_data(), second.typed_data()},
                 {static_cast<int32_t>(first.dimensions()[1]), static_cast<int32_t>(second.dimensions()[1])}};
  if (second.dimensions()[0] != batch || inputs.columns[0] + inputs.columns[1] != mlp.layer[0].in ||
      outputs->dimensions()[0] != batch || outputs->dimensions()[1] != mlp.layer[mlp.depth - 1].out)
    return invalid("inputs or outputs of wrong sizes");
  const Kernels& kernels = *chosen().kernels;
  bool keeps = kept->dimensions()[0] != 0;
  if (keeps && kept->dimensions()[0] != kernels.kept_floats(mlp, batch)) return invalid("activations of wrong sizes");
  float* memory = scratch(kernels.scratch_floats(mlp, batch));
  if (!memory) return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for rlottery's kernels");
  kernels.forward(mlp, parameters.typed_data(), inputs, batch, outputs->typed_data(),
                  keeps ? kept->typed_data() : nullptr, memory);
  return ffi::Error::Success();
}

// Gradients with size 0 are not computed.
ffi::Error run_backward(ffi::Span<const int64_t> network, Vector parameters, Indices pattern, Vector kept,
                        Matrix output_gradient, ffi::Result<Vector> gradient, ffi::Result<Matrix> first,
                        ffi::Result<Matrix> second, int64_t activation, int64_t first_columns) {
  Mlp mlp;
  if (const char* why = read_network(network.begin(), network.size(), activation, pattern.typed_data(),
                                     pattern.dimensions()[0], parameters.dimensions()[0], &mlp))
    return invalid(why);
  int64_t batch = output_gradient.dimensions()[0];
  int32_t columns[2] = {static_cast<int32_t>(first_columns), mlp.layer[0].in - static_cast<int32_t>(first_columns)};
  bool wants[3] = {gradient->dimensions()[0] != 0, first->element_count() != 0, second->element_count() != 0};
  auto fits = [&](ffi::Result<Matrix>& to, int part) {
    return to->dimensions()[0] == batch && to->dimensions()[1] == columns[part];
  };
  const Kernels& kernels = *chosen().kernels;
  if (output_gradient.dimensions()[1] != mlp.layer[mlp.depth - 1].out || columns[0] < 0 || columns[1] < 0 ||
      kept.dimensions()[0] != kernels.kept_floats(mlp, batch) ||
      (wants[0] && gradient->dimensions()[0] != parameters.dimensions()[0]) || (wants[1] && !fits(first, 0)) ||
      (wants[2] && !fits(second, 1)))
    return invalid("gradients of wrong sizes");
  float* memory = scratch(kernels.scratch_floats(mlp, batch));
  if (!memory) return ffi::Error(ffi::ErrorCode::kResourceExhausted, "no memory for rlottery's kernels");
  if (wants[0]) std::fill(gradient->typed_data() + mlp.size, gradient->typed_data() + parameters.dimensions()[0], 0.0f);
  float* const inputs[2] = {wants[1] ? first->typed_data() : nullptr, wants[2] ? second->typed_data() : nullptr};
  kernels.backward(mlp, parameters.typed_data(), kept.typed_data(), batch, output_gradient.typed_data(),
                   wants[0] ? gradient->typed_data() : nullptr, inputs, columns, memory);
  return ffi::Error::Success();
}

ffi::Error run_random_words(ffi::BufferR1<ffi::U32> key, ffi::Result<ffi::BufferR2<ffi::U32>> words) {
  int64_t count = words->dimensions()[1];
  if (key.dimensions()[0] != 2 || words->dimensions()[0] != 2 || count > UINT32_MAX)
    return invalid("a key or random words of wrong sizes");
  chosen().kernels->random_words(key.typed_data(), count, words->typed_data(), words->typed_data() + count);
  return ffi::Error::Success();
}

ffi::Error run_normals(ffi::BufferR1<ffi::U32> key, ffi::Result<Vector> numbers) {
  int64_t count = numbers->dimensions()[0];
  if (key.dimensions()[0] != 2 || count > UINT32_MAX) return invalid("a key of a wrong size, or too many numbers");
  chosen().kernels->normals(key.typed_data(), count, numbers->typed_data());
  return ffi::Error::Success();
}

// The results have the memory of the arguments, unless something else still reads these.
ffi::Error run_adam(ffi::Span<const float> numbers, Vector gradient, Vector shares, Vector weights, Vector mean,
                    Vector square, ffi::Result<Vector> new_weights, ffi::Result<Vector> new_mean,
                    ffi::Result<Vector> new_square, bool divides) {
  int64_t count = gradient.dimensions()[0];
  if (numbers.size() != 6 || shares.dimensions()[0] != 2) return invalid("a step of Adam in an unknown format");
  const Vector from[3] = {weights, mean, square};
  ffi::Result<Vector>* const to[3] = {&new_weights, &new_mean, &new_square};
  for (int n = 0; n < 3; n++) {
    if (from[n].dimensions()[0] != count || (*to[n])->dimensions()[0] != count)
      return invalid("weights, gradients or moments of wrong sizes");
    const float* source = from[n].typed_data();
    if (source != (*to[n])->typed_data()) std::copy(source, source + count, (*to[n])->typed_data());
  }
  const float *given = numbers.begin(), *share = shares.typed_data();
  AdamStep step = {{given[0], given[1]}, {given[2], given[3]}, {share[0], share[1]}, divides, given[4], given[5]};
  chosen().kernels->adam(step, count, gradient.typed_data(), new_weights->typed_data(), new_mean->typed_data(),
                         new_square->typed_data());
  return ffi::Error::Success();
}

}  // namespace
}  // namespace rlottery

#pragma GCC visibility push(default)

XLA_FFI_DEFINE_HANDLER_SYMBOL(rl_forward, rlottery::run_forward,
                              ffi::Ffi::Bind()
                                  .Attr<ffi::Span<const int64_t>>("network")
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Indices>()
                                  .Arg<rlottery::Matrix>()
                                  .Arg<rlottery::Matrix>()
                                  .Ret<rlottery::Matrix>()
                                  .Ret<rlottery::Vector>()
                                  .Attr<int64_t>("activation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(rl_backward, rlottery::run_backward,
                              ffi::Ffi::Bind()
                                  .Attr<ffi::Span<const int64_t>>("network")
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Indices>()
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Matrix>()
                                  .Ret<rlottery::Vector>()
                                  .Ret<rlottery::Matrix>()
                                  .Ret<rlottery::Matrix>()
                                  .Attr<int64_t>("activation")
                                  .Attr<int64_t>("first_columns"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(rl_random_words, rlottery::run_random_words,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::BufferR1<ffi::U32>>()
                                  .Ret<ffi::BufferR2<ffi::U32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(rl_normals, rlottery::run_normals,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::BufferR1<ffi::U32>>()
                                  .Ret<rlottery::Vector>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(rl_adam, rlottery::run_adam,
                              ffi::Ffi::Bind()
                                  .Attr<ffi::Span<const float>>("numbers")
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Vector>()
                                  .Arg<rlottery::Vector>()
                                  .Ret<rlottery::Vector>()
                                  .Ret<rlottery::Vector>()
                                  .Ret<rlottery::Vector>()
                                  .Attr<bool>("divides"));

#pragma GCC visibility pop

RLOTTERY_EXPORT int rl_version() { return 6; }

RLOTTERY_EXPORT const char* rl_isa() { return rlottery::chosen().name; }

// The outputs of a network for observations: inputs (batch, in) -> outputs (batch, out). Returns 1 if the arguments
// don't fit together, otherwise 0.
RLOTTERY_EXPORT int rl_act(const int64_t* network, int64_t network_length, int64_t activation, const float* parameters,
                           int64_t parameter_count, const int32_t* pattern, int64_t pattern_length,
                           const float* inputs, int64_t batch, float* outputs) {
  rlottery::Mlp mlp;
  if (rlottery::read_network(network, static_cast<size_t>(network_length), activation, pattern, pattern_length,
                             parameter_count, &mlp))
    return 1;
  const rlottery::Kernels& kernels = *rlottery::chosen().kernels;
  float* memory = rlottery::scratch(kernels.act_floats(mlp));
  if (!memory) return 1;
  kernels.act(mlp, parameters, inputs, batch, outputs, memory);
  return 0;
}
