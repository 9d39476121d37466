// Tokens per second as llama-bench counts them: reading a prompt (pp) and generating (tg).
#pragma once

#include <string>

#include "session.hpp"

namespace c4n_run {

struct Sizes {
  int n_prompt, n_gen, reps;
};

// Warms each test up once, then runs both `reps` times in turns, from an empty state each time.
// Returns a JSON array with an object for each test, its fields named as llama-bench names them.
std::string bench(Session& model, const Sizes& sizes);

}  // namespace c4n_run
