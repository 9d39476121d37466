// Chooses the next token from logits, as tvm_c4n/runtime/sampler.py does: there each parameter is
// explained, and one seed gives one text in both.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "random.hpp"

namespace c4n {

struct Sampling {
  double temperature = 0;  // 0: the most likely token, the lowest of equal ones
  int64_t top_k = 0;
  double top_p = 1, min_p = 0;
  double repeat_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int64_t repeat_last_n = 64;  // -1: the whole text
  uint64_t seed = 0;

  // Throws Error for a value that is out of range.
  void check() const;
  bool penalises() const;
};

class Sampler {
 public:
  // text: the tokens so far, for penalties.
  Sampler(const Sampling& sampling, const std::vector<int32_t>& text);
  // Throws Error where a logit is not finite.
  int32_t operator()(const float* logits, size_t vocab);

 private:
  void penalise(std::vector<double>& logits) const;
  int32_t draw(const std::vector<double>& logits);

  Sampling sampling_;
  std::optional<Random> random_;
  std::deque<int32_t> window_;
};

}  // namespace c4n
