// A set of characters, as a class of a regular expression writes it.
#pragma once

#include <bitset>
#include <cstdint>
#include <vector>

namespace c4n {

class CharSet {
 public:
  void add_range(char32_t first, char32_t last) { parts_.push_back({first, last, 0, false}); }
  // All characters of some categories, or with `negate` all others.
  void add_categories(uint32_t bits, bool negate) { parts_.push_back({1, 0, bits, negate}); }
  void add_spaces(bool negate) { parts_.push_back({1, 0, 0, negate}); }
  // From now on it is all that it was not; nothing may be added after it.
  void negate() { negated_ = true; }
  // ASCII letters and what Unicode folds to them, in both cases; false for other letters.
  bool fold_case();
  // To be called once, when all is added.
  void finish();
  bool has(char32_t code) const { return code < kSmall ? small_[code] : look_up(code); }

 private:
  static constexpr char32_t kSmall = 128;
  // A range; where `first` is above `last`, categories, or white space if there are none.
  struct Part {
    char32_t first, last;
    uint32_t categories;
    bool negate;
  };
  bool look_up(char32_t code) const;

  std::vector<Part> parts_;
  std::bitset<kSmall> small_;
  bool negated_ = false;
};

}  // namespace c4n
