// Continues a model's text: tokens, the text that is complete by each, and where it ends.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model.hpp"
#include "sampler.hpp"
#include "text/tokenizer.hpp"

namespace c4n {

struct Generation {
  Sampling sampling;
  size_t limit = 64;
  std::vector<std::string> stop;
  std::vector<int64_t> ends;
};

enum class Reason { kEnd, kLimit, kStopped };

// Gets a token, or -1 behind the last one, and text; returns whether to go on.
using OnPiece = std::function<bool(int32_t token, const std::string& text)>;

// The last token is left to the caller in `unread`: nobody may ever use its logits. tokenizer: null
// for tokens alone. Throws Error where nothing was read yet, for options out of
// range, and where the text is as long as the model reads.
Reason generate(Model& model, const Generation& how, const Tokenizer* tokenizer,
                const OnPiece& on_piece, std::vector<int32_t>& unread);

}  // namespace c4n
