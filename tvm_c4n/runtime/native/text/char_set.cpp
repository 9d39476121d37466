#include "char_set.hpp"

#include "unicode.hpp"

namespace c4n {
namespace {

constexpr char32_t kLongS = 0x17F, kKelvin = 0x212A;  // fold to s and k

bool is_lower(char32_t code) { return code >= 'a' && code <= 'z'; }
bool is_upper(char32_t code) { return code >= 'A' && code <= 'Z'; }

}  // namespace

bool CharSet::fold_case() {
  std::vector<Part> folded;
  for (const Part& part : parts_) {
    if (part.first > part.last) {  // white space has no case
      if (part.categories) return false;
      continue;
    }
    if (part.last >= kSmall) return false;
    for (char32_t code = part.first; code <= part.last; ++code) {
      if (!is_lower(code) && !is_upper(code)) continue;
      const char32_t lower = code | 0x20;
      folded.push_back({lower, lower, 0, false});
      folded.push_back({lower - 0x20, lower - 0x20, 0, false});
      if (lower == 's') folded.push_back({kLongS, kLongS, 0, false});
      if (lower == 'k') folded.push_back({kKelvin, kKelvin, 0, false});
    }
  }
  parts_.insert(parts_.end(), folded.begin(), folded.end());
  return true;
}

void CharSet::finish() {
  for (char32_t code = 0; code < kSmall; ++code) small_[code] = look_up(code);
}

bool CharSet::look_up(char32_t code) const {
  for (const Part& part : parts_) {
    bool found = part.first <= code && code <= part.last;
    if (part.first > part.last) {
      found = part.categories ? part.categories & category_bit_of(code) : is_space(code);
      found = found != part.negate;
    }
    if (found) return !negated_;
  }
  return negated_;
}

}  // namespace c4n
