// Turns the text of a regular expression into steps of `Regex`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "regex.hpp"

namespace c4n {

class RegexParser {
 public:
  RegexParser(std::string_view pattern, const std::string& where);
  // Throws Error as `Regex` does.
  void parse();

  std::vector<Regex::Step> steps;
  std::vector<CharSet> sets;

 private:
  using Step = Regex::Step;
  struct Bounds {
    uint32_t least, most;
    bool possessive;
  };
  [[noreturn]] void refuse(const std::string& what) const;
  bool ends() const { return at_ == text_.size(); }
  bool take(std::u32string_view expected);
  char32_t next();
  // Each returns the characters that what it read takes at least.
  uint32_t alternatives(int depth);
  uint32_t sequence(int depth);
  uint32_t item(int depth);
  uint32_t group(int depth);
  uint32_t look(bool negated, int depth);
  uint32_t repeated(size_t start, uint32_t least);
  bool bounds(Bounds& found);
  uint32_t number();
  void add_set(CharSet set);
  CharSet char_class();
  // Adds what follows a backslash; returns whether it was one character, which `code` then is.
  bool escape(CharSet& set, char32_t& code);
  void property(CharSet& set, bool negate);

  std::u32string text_;
  std::string where_;
  size_t at_ = 0;
  bool fold_ = false;
};

}  // namespace c4n
