// Tokens per second as llama-bench counts them: reading a prompt (pp) and generating (tg).
#pragma once

#include <string>

#include "model.hpp"

namespace c4n {

// Warms each test up once, then runs both `reps` times in turns, from an empty state each time.
// Returns a JSON array with an object for each test, its fields named as llama-bench names them.
std::string bench(Model& model, int threads, int n_prompt, int n_gen, int reps);

}  // namespace c4n
