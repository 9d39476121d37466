#include "sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "file.hpp"

namespace c4n {
namespace {

// Shares of the most likely token's probability, below which tokens are not sorted for top-p: the
// first one below which few enough lie.
constexpr double kRare[] = {1e-3, 1e-5, 0};

size_t most_likely(const float* logits, size_t vocab) {
  size_t found = 0;
  for (size_t token = 0; token < vocab; ++token) {
    if (!std::isfinite(logits[token])) throw Error("a logit is not finite: the model is damaged");
    if (logits[token] > logits[found]) found = token;
  }
  return found;
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

// Tokens go from the least likely one on while they come to 1 - top_p; returns the logit of the
// first that stays.
double least_of_top_p(const std::vector<double>& logits, double top_p) {
  const double top = largest(logits);
  std::vector<double> weights;
  for (const double logit : logits) weights.push_back(std::exp(logit - top));
  const double most = (1 - top_p) * std::accumulate(weights.begin(), weights.end(), 0.0);
  double gone = 0, rare = 0;
  for (const double share : kRare) {
    rare = share;
    gone = 0;
    for (const double weight : weights) gone += weight < share ? weight : 0;
    if (gone <= most) break;
  }
  std::vector<double> rising;
  for (size_t i = 0; i < logits.size(); ++i)
    if (weights[i] >= rare) rising.push_back(logits[i]);
  std::sort(rising.begin(), rising.end());
  double sum = 0;
  for (const double logit : rising) {
    sum += std::exp(logit - rising.back());
    if (gone + sum > most) return logit;
  }
  return rising.back();
}

// The least logit that top-k, top-p and min-p leave.
double least_of(const std::vector<double>& logits, const Sampling& sampling) {
  double least = -std::numeric_limits<double>::infinity();
  const auto k = static_cast<size_t>(sampling.top_k);
  if (k > 0 && k < logits.size()) {
    std::vector<double> sorted = logits;
    const auto place = sorted.begin() + static_cast<std::ptrdiff_t>(k) - 1;
    std::nth_element(sorted.begin(), place, sorted.end(), std::greater<>());
    least = *place;
  }
  if (sampling.top_p < 1) {
    std::vector<double> left;
    for (const double logit : logits)
      if (logit >= least) left.push_back(logit);
    least = least_of_top_p(left, sampling.top_p);
  }
  if (sampling.min_p > 0) least = std::max(least, largest(logits) + std::log(sampling.min_p));
  return least;
}

void need(bool good, const char* message) {
  if (!good) throw Error(message);
}

}  // namespace

void Sampling::check() const {
  // Comparisons are false for what is no number.
  need(temperature >= 0 && std::isfinite(temperature), "the temperature is not 0 or more");
  need(top_k >= 0, "top-k is below 0 (all tokens)");
  need(top_p >= 0 && top_p <= 1, "top-p is not in 0 to 1 (all tokens)");
  need(min_p >= 0 && min_p <= 1, "min-p is not in 0 (all tokens) to 1");
  need(repeat_penalty > 0 && std::isfinite(repeat_penalty), "the repeat penalty is not above 0");
  need(repeat_last_n >= -1, "the window of penalties is below -1 (the whole text)");
  need(std::isfinite(presence_penalty), "the presence penalty is not a finite number");
  need(std::isfinite(frequency_penalty), "the frequency penalty is not a finite number");
}

bool Sampling::penalises() const {
  return repeat_last_n && (repeat_penalty != 1 || presence_penalty != 0 || frequency_penalty != 0);
}

Sampler::Sampler(const Sampling& sampling, const std::vector<int32_t>& text) : sampling_(sampling) {
  sampling.check();
  if (sampling.temperature > 0) random_.emplace(sampling.seed);
  if (!sampling.penalises()) return;
  size_t kept = text.size();
  if (sampling.repeat_last_n >= 0) kept = std::min(kept, static_cast<size_t>(sampling.repeat_last_n));
  window_.assign(text.end() - static_cast<std::ptrdiff_t>(kept), text.end());
}

int32_t Sampler::operator()(const float* logits, size_t vocab) {
  const size_t best = most_likely(logits, vocab);
  if (!random_ && !sampling_.penalises()) return static_cast<int32_t>(best);
  std::vector<double> wide(logits, logits + vocab);
  if (sampling_.penalises()) penalise(wide);
  const int32_t token = random_ ? draw(wide)
                                : static_cast<int32_t>(std::max_element(wide.begin(), wide.end()) -
                                                       wide.begin());
  if (sampling_.penalises()) {
    window_.push_back(token);
    if (sampling_.repeat_last_n >= 0 && window_.size() > static_cast<size_t>(sampling_.repeat_last_n))
      window_.pop_front();
  }
  return token;
}

void Sampler::penalise(std::vector<double>& logits) const {
  std::map<int32_t, int> counts;
  for (const int32_t token : window_) ++counts[token];
  for (const auto& [token, count] : counts) {
    double& logit = logits[static_cast<size_t>(token)];
    logit = logit > 0 ? logit / sampling_.repeat_penalty : logit * sampling_.repeat_penalty;
    logit -= sampling_.presence_penalty + count * sampling_.frequency_penalty;
  }
}

int32_t Sampler::draw(const std::vector<double>& logits) {
  const double least = least_of(logits, sampling_), top = largest(logits);
  // Running sums of the weights of the tokens that are left. The largest logit is taken off before
  // the division: a tiny temperature must not overflow.
  std::vector<double> sums;
  std::vector<int32_t> tokens;
  double sum = 0;
  for (size_t token = 0; token < logits.size(); ++token) {
    if (logits[token] < least) continue;
    sums.push_back(sum += std::exp((logits[token] - top) / sampling_.temperature));
    tokens.push_back(static_cast<int32_t>(token));
  }
  const auto found = std::upper_bound(sums.begin(), sums.end(), random_->next() * sum);
  // Rounding may put the draw on the very end.
  return found == sums.end() ? tokens.back() : tokens[static_cast<size_t>(found - sums.begin())];
}

}  // namespace c4n
