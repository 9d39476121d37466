#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace c4n_run {
namespace {

struct Test {
  int n_prompt, n_gen;
  std::vector<long long> samples_ns;
};

long long run(Session& model, const Test& test) {
  std::mt19937 random(42);
  std::vector<int32_t> tokens;
  for (int i = 0; i < test.n_prompt + test.n_gen; ++i)
    tokens.push_back(static_cast<int32_t>(i ? random() % c4n_vocab(model) : 0));
  check(c4n_reset(model));
  const auto began = std::chrono::steady_clock::now();
  if (test.n_prompt) check(c4n_prefill(model, tokens.data(), tokens.size()));
  // Random tokens are read, as llama-bench does: choosing one is not measured.
  else for (const int32_t token : tokens) check(c4n_step(model, token));
  const auto took = std::chrono::steady_clock::now() - began;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
}

std::string as_json(const Test& test, int threads) {
  std::string ns, ts;
  double sum = 0, squares = 0;
  char text[160];
  for (const long long sample : test.samples_ns) {
    const double rate = (test.n_prompt + test.n_gen) * 1e9 / static_cast<double>(sample);
    sum += rate, squares += rate * rate;
    const char* comma = ns.empty() ? "" : ", ";
    snprintf(text, sizeof text, "%s%lld", comma, sample), ns += text;
    snprintf(text, sizeof text, "%s%.6g", comma, rate), ts += text;
  }
  const double n = static_cast<double>(test.samples_ns.size()), mean = sum / n;
  const double variance = n > 1 ? std::max(0.0, (squares - n * mean * mean) / (n - 1)) : 0;
  snprintf(text, sizeof text,
           "{\"n_threads\": %d, \"n_prompt\": %d, \"n_gen\": %d, \"avg_ts\": %.6g, \"stddev_ts\": %.6g, ",
           threads, test.n_prompt, test.n_gen, mean, std::sqrt(variance));
  return text + ("\"samples_ns\": [" + ns + "], \"samples_ts\": [" + ts + "]}");
}

}  // namespace

std::string bench(Session& model, const Sizes& sizes) {
  std::vector<Test> tests;
  if (sizes.n_prompt) tests.push_back({sizes.n_prompt, 0, {}});
  if (sizes.n_gen) tests.push_back({0, sizes.n_gen, {}});
  for (const Test& test : tests) run(model, test);
  for (int round = 0; round < sizes.reps; ++round)
    for (Test& test : tests) test.samples_ns.push_back(run(model, test));
  std::string out;
  for (const Test& test : tests) out += (out.empty() ? "[" : ",\n ") + as_json(test, c4n_threads(model));
  return out + "]";
}

}  // namespace c4n_run
