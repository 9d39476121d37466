// What c4n_run continues: a text or token ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "options.hpp"

namespace c4n_run {

// The prompt; the last line end of a file or of stdin (FILE is -) is not part of it. Throws Failure
// for a file that cannot be read.
std::string read_text(const Options& options);

// Token ids from stdin, separated by white space. Throws Failure for what is none.
std::vector<int32_t> read_tokens();

}  // namespace c4n_run
