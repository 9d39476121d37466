#include "session.hpp"

namespace c4n_run {

void check(c4n_status status) {
  if (status != C4N_OK) throw Failure(c4n_error(), status == C4N_INVALID ? 2 : 1);
}

std::vector<int32_t> Session::tokenize(const std::string& text, bool as_prompt) const {
  // Mostly a token has several bytes, and some stand around the text.
  std::vector<int32_t> tokens(text.size() + 16);
  size_t count = 0;
  c4n_status status = C4N_SHORT;
  while (status == C4N_SHORT) {
    if (count > tokens.size()) tokens.resize(count);
    status = c4n_tokenize(model_, text.data(), text.size(), as_prompt, tokens.data(), tokens.size(),
                          &count);
  }
  check(status);
  tokens.resize(count);
  return tokens;
}

}  // namespace c4n_run
