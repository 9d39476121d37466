#include "sustained.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <random>
#include <vector>

namespace c4n_run {
namespace {

// Windows of a measurement, and seconds of one, at least and at most; tvm_c4n/runtime/sustained.py
// has the same.
constexpr int kWindows = 20;
constexpr double kShortest = 0.5, kLongest = 30;
// Windows at either end that are compared: a tenth of them all.
constexpr size_t kEnds = 10;
// Of a text, at most.
constexpr int kTextTokens = 1024;
// Steps before, which touch the weights and start the threads.
constexpr int kWarmup = 16;

volatile std::sig_atomic_t ended_by = 0;

void end(int signal) { ended_by = signal; }

// Tokens per second of a window; 0 if a signal ended it.
double window(Session& model, std::vector<int32_t>& text, size_t& place, double secs) {
  const auto began = std::chrono::steady_clock::now();
  std::chrono::duration<double> passed{0};
  int tokens = 0;
  while (passed.count() < secs) {
    if (ended_by) return 0;
    if (place == 0) check(c4n_reset(model));
    const c4n_status status = c4n_step(model, text[place]);
    if (status == C4N_INVALID && place) {  // attention has no room for more
      text.resize(place);
      place = 0;
      continue;
    }
    check(status);
    place = (place + 1) % text.size();
    ++tokens;
    passed = std::chrono::steady_clock::now() - began;
  }
  return tokens / passed.count();
}

double mean(const double* from, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += from[i];
  return sum / static_cast<double>(count);
}

std::string as_json(const std::vector<double>& rates, int threads, double secs, double window_secs,
                    bool complete) {
  char text[240];
  std::string windows;
  for (const double rate : rates)
    snprintf(text, sizeof text, "%s%.6g", windows.empty() ? "" : ", ", rate), windows += text;
  const size_t compared = std::max<size_t>(1, rates.size() / kEnds);
  const double first = mean(rates.data(), compared);
  const double last = mean(rates.data() + rates.size() - compared, compared);
  snprintf(text, sizeof text,
           "\"first_ts\": %.6g, \"last_ts\": %.6g, \"kept\": %.4g, \"complete\": %s, "
           "\"asked_secs\": %.6g, \"window_secs\": %.6g, \"n_threads\": %d, ",
           first, last, last / first, complete ? "true" : "false", secs, window_secs, threads);
  return "{" + std::string(text) + "\"windows_ts\": [" + windows + "]}";
}

}  // namespace

Sustained sustained(Session& model, double minutes) {
  const double secs = 60 * minutes;
  const double window_secs = std::min(std::max(secs / kWindows, kShortest), kLongest);
  const auto total = static_cast<size_t>(std::max(1.0, std::round(secs / window_secs)));
  std::mt19937 random(42);
  std::vector<int32_t> text{0};
  const auto vocab = c4n_vocab(model);
  while (text.size() < kTextTokens) text.push_back(static_cast<int32_t>(random() % vocab));
  for (int i = 0; i < kWarmup; ++i) check(c4n_step(model, 0));
  std::signal(SIGINT, end);
  std::signal(SIGTERM, end);
  std::vector<double> rates;
  for (size_t place = 0; rates.size() < total;) {
    const double rate = window(model, text, place, window_secs);
    if (ended_by) break;
    rates.push_back(rate);
    std::fprintf(stderr, "%zu of %zu: %.1f tokens/s\n", rates.size(), total, rate);
  }
  if (rates.empty()) return {"", ended_by};
  return {as_json(rates, c4n_threads(model), secs, window_secs, !ended_by), ended_by};
}

}  // namespace c4n_run
