// The kernels against a plain computation at double precision, on random networks, in buffers of exactly the size that
// they may touch: compiled with the address and undefined behaviour sanitizers by test_sanitized.py.
// Prints how many networks agreed; ends with 1 at the first that doesn't.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "network.h"

using namespace rlottery;

namespace {

std::mt19937 generator(20);

int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }
float number() { return std::uniform_real_distribution<float>(-1.0f, 1.0f)(generator); }

struct Dense {  // (in, out) weights and whether each is there
  int in, out, kind;
  std::vector<float> weight, bias;
  std::vector<bool> there;
};

// What layout.py makes, written once more from its description.
struct Packed {
  std::vector<int64_t> numbers;
  std::vector<int32_t> pattern;
  std::vector<float> parameters;
  std::vector<size_t> units, survivors;     // where their numbers are in the pattern
  std::vector<std::vector<int64_t>> place;  // of each weight of each layer in the parameters, or -1
};

Packed pack_network(const std::vector<Dense>& layers) {
  Packed packed;
  std::vector<std::vector<bool>> live(layers.size());
  live.back().assign(layers.back().out, true);
  for (size_t l = layers.size() - 1; l > 0; l--) {
    const Dense& layer = layers[l];
    live[l - 1].assign(layer.in, layer.kind != kSparse);
    for (int i = 0; i < layer.in; i++)
      for (int j = 0; j < layer.out; j++)
        if (layer.there[i * layer.out + j] && live[l][j]) live[l - 1][i] = true;
  }
  std::vector<std::vector<bool>> varying(1, std::vector<bool>(layers[0].in, true));
  for (const Dense& layer : layers) {
    std::vector<bool> outputs(layer.out, layer.kind != kSparse);
    for (int i = 0; i < layer.in; i++)
      for (int j = 0; j < layer.out; j++)
        if (layer.there[i * layer.out + j] && varying.back()[i]) outputs[j] = true;
    varying.push_back(outputs);
  }
  for (const Dense& layer : layers) packed.numbers.push_back(layer.in);
  packed.numbers.push_back(layers.back().out);
  for (size_t l = 0; l < layers.size(); l++) {
    const Dense& layer = layers[l];
    std::vector<int64_t> place(layer.weight.size(), -1);
    int64_t start = static_cast<int64_t>(packed.parameters.size());
    auto take = [&](int i, int j) {
      if (!layer.there[i * layer.out + j]) return;
      place[i * layer.out + j] = static_cast<int64_t>(packed.parameters.size());
      packed.parameters.push_back(layer.weight[i * layer.out + j]);
    };
    if (layer.kind == kFull)
      for (int i = 0; i < layer.in; i++)
        for (int j = 0; j < layer.out; j++) take(i, j);
    else
      for (int j = 0; j < layer.out; j++)
        for (bool varies : {true, false})
          for (int i = 0; i < layer.in; i++)
            if (varying[l][i] == varies) take(i, j);
    int64_t count = static_cast<int64_t>(packed.parameters.size()) - start;
    packed.numbers.push_back(layer.kind);
    packed.parameters.insert(packed.parameters.end(), layer.bias.begin(), layer.bias.end());
    std::vector<int32_t>& pattern = packed.pattern;
    std::vector<int32_t> units;
    int32_t of_varying = 0;
    for (bool varies : {true, false}) {
      for (int j = 0; j < layer.out; j++)
        if (live[l][j] && varying[l + 1][j] == varies) units.push_back(j);
      if (varies) of_varying = static_cast<int32_t>(units.size());
    }
    packed.units.insert(packed.units.end(), {pattern.size(), pattern.size() + 1});
    pattern.push_back(static_cast<int32_t>(units.size()));
    pattern.push_back(of_varying);
    units.resize(layer.out);
    pattern.insert(pattern.end(), units.begin(), units.end());
    if (layer.kind != kFull) {
      packed.survivors.push_back(pattern.size());
      pattern.push_back(static_cast<int32_t>(count));
      std::vector<int32_t> starts(1, 0), constants, inputs, column_starts(1, 0), outputs, values;
      for (int j = 0; j < layer.out; j++) {
        for (bool varies : {true, false}) {
          for (int i = 0; i < layer.in; i++)
            if (layer.there[i * layer.out + j] && varying[l][i] == varies) inputs.push_back(i);
          if (varies) constants.push_back(static_cast<int32_t>(inputs.size()));
        }
        starts.push_back(static_cast<int32_t>(inputs.size()));
      }
      for (int i = 0; i < layer.in; i++) {
        for (int j = 0; j < layer.out; j++)
          if (layer.there[i * layer.out + j] && live[l][j]) {
            outputs.push_back(j);
            values.push_back(static_cast<int32_t>(place[i * layer.out + j] - start));
          }
        column_starts.push_back(static_cast<int32_t>(outputs.size()));
      }
      outputs.resize(count);
      values.resize(count);
      for (const auto* part : {&starts, &constants, &inputs, &column_starts, &outputs, &values})
        pattern.insert(pattern.end(), part->begin(), part->end());
    }
    packed.place.push_back(place);
  }
  return packed;
}

// Whether `pattern` is taken for the network's.
bool takes(const Packed& packed, const std::vector<int32_t>& pattern, int padding) {
  Mlp mlp;  // of a copy, as a vector's memory may be longer than its content
  std::unique_ptr<int32_t[]> exact(new int32_t[pattern.size()]);
  std::copy(pattern.begin(), pattern.end(), exact.get());
  return !read_network(packed.numbers.data(), packed.numbers.size(), kRelu, exact.get(),
                       static_cast<int64_t>(pattern.size()), static_cast<int64_t>(packed.parameters.size()) + padding,
                       &mlp);
}

// Whether patterns of wrong lengths, and with impossible numbers of units and survivors, are refused.
bool refuses(const Packed& packed, int padding) {
  auto taken = [&](size_t at, int32_t number) {
    std::vector<int32_t> pattern = packed.pattern;
    pattern[at] = number;
    bool is_taken = takes(packed, pattern, padding);
    if (is_taken) std::printf("%d for %d is taken\n", number, packed.pattern[at]);
    return is_taken;
  };
  for (size_t at : packed.units)
    for (int32_t wrong : {-1, INT32_MIN, INT32_MAX, 91})
      if (taken(at, wrong)) return false;
  for (size_t at : packed.survivors)
    for (int32_t wrong : {-1, INT32_MIN, INT32_MAX, packed.pattern[at] - 1, packed.pattern[at] + 1, 90 * 90 + 1})
      if (taken(at, wrong)) return false;
  for (int n = 0; n < 20; n++) {
    std::vector<int32_t> pattern = packed.pattern;
    pattern.resize(draw(0, static_cast<int>(pattern.size()) + 9));
    if (pattern.size() != packed.pattern.size() && takes(packed, pattern, padding))
      return std::printf("%zu numbers are taken for %zu\n", pattern.size(), packed.pattern.size()), false;
  }
  return true;
}

// Memory of exactly this size, so that the sanitizer sees what is read or written beyond it.
std::unique_ptr<float[]> exact(int64_t floats) { return std::unique_ptr<float[]>(new float[floats]); }

bool close(double expected, double found, double scale) {
  return std::isfinite(found) && std::fabs(expected - found) <= 2e-5 * (scale + std::fabs(expected));
}

bool agrees(const Kernels& kernels) {
  int depth = draw(1, 4), batch = draw(0, 9) ? draw(1, 150) : draw(500, 1100), activation = draw(0, 1);
  std::vector<Dense> layers;
  int in = draw(1, 90);
  for (int l = 0; l < depth; l++) {
    Dense layer{in, draw(1, 90), draw(0, 1), {}, {}, {}};
    double density = std::vector<double>{0.0, 0.02, 0.2, 0.6, 1.0}[draw(0, 4)];
    // Survivors may cluster: some inputs and outputs keep none.
    double connected = draw(0, 1) ? 1.0 : 0.4;
    std::vector<bool> of_input, of_output;
    for (int i = 0; i < layer.in; i++) of_input.push_back(std::bernoulli_distribution(connected)(generator));
    for (int j = 0; j < layer.out; j++) of_output.push_back(std::bernoulli_distribution(connected)(generator));
    for (int w = 0; w < layer.in * layer.out; w++) {
      bool may = of_input[w / layer.out] && of_output[w % layer.out];
      layer.there.push_back(layer.kind == kFull || (may && std::bernoulli_distribution(density)(generator)));
      layer.weight.push_back(layer.there.back() ? number() * 1.7f / std::sqrt(static_cast<float>(layer.in)) : 0.0f);
    }
    for (int j = 0; j < layer.out; j++) layer.bias.push_back(number());
    in = layer.out;
    layers.push_back(layer);
  }
  Packed packed = pack_network(layers);
  int padding = draw(0, 1) * draw(1, 90);
  packed.pattern.resize(packed.pattern.size() + 3 * padding);
  if (!refuses(packed, padding)) return false;
  Mlp mlp;
  if (const char* why = read_network(packed.numbers.data(), packed.numbers.size(), activation, packed.pattern.data(),
                                     static_cast<int64_t>(packed.pattern.size()),
                                     static_cast<int64_t>(packed.parameters.size()) + padding, &mlp)) {
    std::printf("refused: %s\n", why);
    return false;
  }
  int inputs = layers[0].in, outputs = layers.back().out, first = draw(0, inputs), second = inputs - first;
  std::vector<float> parts[2], gradient_of_outputs(batch * outputs);
  for (int part = 0; part < 2; part++)
    for (int b = 0; b < batch * (part ? second : first); b++) parts[part].push_back(number());
  for (float& g : gradient_of_outputs) g = number();

  // Forward and back at double precision.
  std::vector<std::vector<double>> x(1);
  for (int b = 0; b < batch; b++)
    for (int i = 0; i < inputs; i++)
      x[0].push_back(i < first ? parts[0][b * first + i] : parts[1][b * second + i - first]);
  for (int l = 0; l < depth; l++) {
    const Dense& layer = layers[l];
    std::vector<double> y;
    for (int b = 0; b < batch; b++)
      for (int j = 0; j < layer.out; j++) {
        double total = layer.bias[j];
        for (int i = 0; i < layer.in; i++) total += x[l][b * layer.in + i] * layer.weight[i * layer.out + j];
        bool hidden = l + 1 < depth;
        y.push_back(hidden && activation == kTanh ? std::tanh(total) : hidden && total < 0 ? 0 : total);
      }
    x.push_back(y);
  }
  std::vector<double> of_parameters(packed.parameters.size()), g(gradient_of_outputs.begin(), gradient_of_outputs.end());
  for (int l = depth - 1; l >= 0; l--) {
    const Dense& layer = layers[l];
    std::vector<double> gx(batch * layer.in);
    int64_t bias_at = mlp.layer[l].offset + mlp.layer[l].count;
    for (int b = 0; b < batch; b++)
      for (int j = 0; j < layer.out; j++) {
        double gj = g[b * layer.out + j];
        of_parameters[bias_at + j] += gj;
        for (int i = 0; i < layer.in; i++) {
          int w = i * layer.out + j;
          if (packed.place[l][w] >= 0) of_parameters[packed.place[l][w]] += gj * x[l][b * layer.in + i];
          gx[b * layer.in + i] += gj * layer.weight[w];
        }
      }
    if (l > 0)
      for (size_t k = 0; k < gx.size(); k++)
        gx[k] *= activation == kTanh ? 1 - x[l][k] * x[l][k] : x[l][k] > 0;
    g = gx;
  }

  auto scratch = exact(kernels.scratch_floats(mlp, batch)), kept = exact(kernels.kept_floats(mlp, batch));
  auto found = exact(batch * outputs), again = exact(batch * outputs), gradient = exact(of_parameters.size());
  auto g0 = exact(batch * first), g1 = exact(batch * second);
  Pair pair = {{parts[0].data(), parts[1].data()}, {first, second}};
  kernels.forward(mlp, packed.parameters.data(), pair, batch, found.get(), kept.get(), scratch.get());
  kernels.forward(mlp, packed.parameters.data(), pair, batch, again.get(), nullptr, scratch.get());
  float* const inputs_to[2] = {draw(0, 3) ? g0.get() : nullptr, draw(0, 3) ? g1.get() : nullptr};
  const int32_t columns[2] = {first, second};
  kernels.backward(mlp, packed.parameters.data(), kept.get(), batch, gradient_of_outputs.data(), gradient.get(),
                   inputs_to, columns, scratch.get());
  for (int k = 0; k < batch * outputs; k++)
    if (!close(x[depth][k], found[k], 1) || found[k] != again[k]) return std::printf("outputs differ\n"), false;
  for (size_t k = 0; k < of_parameters.size(); k++)
    if (!close(of_parameters[k], gradient[k], 10)) return std::printf("gradient differs\n"), false;
  for (int b = 0; b < batch; b++)
    for (int i = 0; i < inputs; i++) {
      const float* to = i < first ? inputs_to[0] : inputs_to[1];
      if (to && !close(g[b * inputs + i], i < first ? to[b * first + i] : to[b * second + i - first], 1))
        return std::printf("gradient of inputs differs\n"), false;
    }
  // Acting: all observations together, and each alone with the same bits.
  std::vector<float> observations;
  for (double value : x[0]) observations.push_back(static_cast<float>(value));
  auto together = exact(batch * outputs), one = exact(outputs), own = exact(kernels.act_floats(mlp));
  kernels.act(mlp, packed.parameters.data(), observations.data(), batch, together.get(), own.get());
  for (int b = 0; b < batch; b++) {
    auto observation = exact(inputs);
    std::memcpy(observation.get(), observations.data() + b * inputs, inputs * sizeof(float));
    kernels.act(mlp, packed.parameters.data(), observation.get(), 1, one.get(), own.get());
    for (int j = 0; j < outputs; j++)
      if (!close(x[depth][b * outputs + j], one[j], 1)) return std::printf("a single output differs\n"), false;
    if (std::memcmp(one.get(), together.get() + b * outputs, outputs * sizeof(float)))
      return std::printf("outputs of observations together differ\n"), false;
  }
  return true;
}

// One word at a time, as the paper describes it.
void plain_threefry(const uint32_t key[2], uint32_t counter, uint32_t words[2]) {
  const uint32_t keys[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA};
  const int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  words[0] = keys[0];
  words[1] = counter + keys[1];
  for (uint32_t round = 0; round < 20; round++) {
    int by = rotations[round % 8];
    words[0] += words[1];
    words[1] = ((words[1] << by) | (words[1] >> (32 - by))) ^ words[0];
    if (round % 4 == 3) {
      words[0] += keys[(round / 4 + 1) % 3];
      words[1] += keys[(round / 4 + 2) % 3] + round / 4 + 1;
    }
  }
}

bool draws_numbers(const Kernels& kernels) {
  const uint32_t key[2] = {static_cast<uint32_t>(generator()), static_cast<uint32_t>(generator())};
  int count = draw(0, 70);
  std::unique_ptr<uint32_t[]> high(new uint32_t[count]), low(new uint32_t[count]);
  std::unique_ptr<float[]> normals(new float[count]);
  kernels.random_words(key, count, high.get(), low.get());
  kernels.normals(key, count, normals.get());
  for (int i = 0; i < count; i++) {
    uint32_t words[2];
    plain_threefry(key, i, words);
    if (high[i] != words[0] || low[i] != words[1]) return std::printf("random words differ\n"), false;
    double uniform = ((words[0] ^ words[1]) >> 9) / 4194304.0 - 0x1.fffffep-1;
    if (std::abs(std::erf(normals[i] / std::sqrt(2.0)) - uniform) > 2e-7) return std::printf("normals differ\n"), false;
  }
  return true;
}

// A step of Adam in double precision.
bool steps(const Kernels& kernels) {
  int count = draw(0, 70);
  auto gradient = exact(count), weights = exact(count), mean = exact(count), squared = exact(count);
  std::vector<double> expected[3];
  AdamStep step = {{0.9f, 0.999f}, {0.1f, 0.001f}, {0.19f, 0.002f}, draw(0, 1) == 1, 1e-8f, -3e-4f};
  for (int i = 0; i < count; i++) {
    gradient[i] = static_cast<float>(draw(-1000, 1000)) / 500;
    weights[i] = static_cast<float>(draw(-1000, 1000)) / 700;
    mean[i] = static_cast<float>(draw(-1000, 1000)) / 900;
    squared[i] = static_cast<float>(draw(0, 1000)) / 800;
    double m = 0.9 * mean[i] + 0.1 * gradient[i], v = 0.999 * squared[i] + 0.001 * gradient[i] * gradient[i];
    double direction = m / step.share[0] / (std::sqrt(v / step.share[1]) + 1e-8);
    for (int n = 0; n < 3; n++) expected[n].push_back(n == 0 ? weights[i] - 3e-4 * direction : n == 1 ? m : v);
  }
  kernels.adam(step, count, gradient.get(), weights.get(), mean.get(), squared.get());
  for (int i = 0; i < count; i++)
    if (!close(expected[0][i], weights[i], 1) || !close(expected[1][i], mean[i], 1) ||
        !close(expected[2][i], squared[i], 1))
      return std::printf("a step of Adam differs\n"), false;
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  int networks = count > 1 ? std::atoi(arguments[1]) : 100;
  for (int n = 0; n < networks; n++)
    if (!agrees(RLOTTERY_TESTED) || !draws_numbers(RLOTTERY_TESTED) || !steps(RLOTTERY_TESTED))
      return std::printf("network %d\n", n), 1;
  std::printf("%d networks agree\n", networks);
  return 0;
}
