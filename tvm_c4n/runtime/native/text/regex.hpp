// Regular expressions of tokenizers: what those of known models are written with, in Oniguruma's
// (Ruby's) syntax, which the package `tokenizers` uses.
//
// Literals, classes, \p{..} of general categories, \s, \d, groups, (?i:..), alternatives, greedy and
// possessive repetition, lookahead. Everything else is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "char_set.hpp"

namespace c4n {

class Regex {
 public:
  // Throws Error for a pattern that is none or is not supported; `where` names it.
  Regex(std::string_view pattern, const std::string& where);

  // The matches from left to right, none of them empty. Throws Error where one takes too long.
  std::vector<std::pair<size_t, size_t>> find_all(std::u32string_view text) const;

  struct Step {
    enum Kind { kSet, kRun, kFork, kJump, kLook, kMatch } kind;
    uint32_t set = 0;               // kSet, kRun
    uint32_t least = 1, most = 1;   // kRun: repetitions
    bool flag = false;              // kRun: possessive; kLook: must not match
    uint32_t to = 0;                // kFork: tried second; kJump; kLook: behind it
  };

 private:
  struct Work;
  // The end of a match that begins at `at`, or kNone.
  size_t match(std::u32string_view text, size_t at, uint32_t step, Work& work) const;
  static constexpr size_t kNone = SIZE_MAX;

  std::string where_;
  std::vector<Step> steps_;
  std::vector<CharSet> sets_;
};

}  // namespace c4n
