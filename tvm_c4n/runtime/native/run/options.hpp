// What c4n_run was asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../c4n.h"

namespace c4n_run {

// A line for the user, and the program's exit code.
struct Failure : std::runtime_error {
  Failure(const std::string& line, int code = 2) : std::runtime_error(line), code(code) {}
  int code;
};

struct Options {
  std::string artifact;
  bool help = false, bench = false;
  int threads = 0, n_prompt = 512, n_gen = 128, reps = 5;  // the last three for a bench
  std::optional<double> sustained;          // minutes of a bench
  std::optional<std::string> prompt, file;  // neither: token ids come from stdin
  bool rendered = false;                    // the prompt is what a chat template gave
  std::string load_state, save_state;
  c4n_options how;
  std::vector<std::string> stop;
  std::vector<int32_t> ends;

  bool is_text() const { return prompt || file; }
};

extern const char* const kUsage;

// Throws Failure for what is wrong in it.
Options parse(int count, char** arguments);

}  // namespace c4n_run
