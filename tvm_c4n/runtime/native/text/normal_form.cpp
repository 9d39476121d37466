// Normal forms of Unicode (UAX 15). Hangul is computed, the rest comes from the tables.
#include <algorithm>
#include <utility>

#include "unicode.hpp"
#include "unicode_tables.hpp"

namespace c4n {
namespace {

constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr char32_t kVowelCount = 21, kTailCount = 28, kLeadCount = 19;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;

uint8_t combining_class(char32_t code) {
  const CombiningRun* end = kCombining + kCombiningCount;
  const CombiningRun* after = std::upper_bound(
      kCombining, end, code, [](char32_t c, const CombiningRun& row) { return c < row.first; });
  return after != kCombining && code <= after[-1].last ? after[-1].kind : 0;
}

void decompose(char32_t code, std::u32string& out) {
  if (code - kSyllables < kSyllableCount) {
    const char32_t index = code - kSyllables;
    out += kLeads + index / (kVowelCount * kTailCount);
    out += kVowels + index / kTailCount % kVowelCount;
    if (index % kTailCount) out += kTails + index % kTailCount;
    return;
  }
  const Decomposition* end = kDecompositions + kDecompositionsCount;
  const Decomposition* row = std::lower_bound(
      kDecompositions, end, code, [](const Decomposition& r, char32_t c) { return r.code < c; });
  if (row == end || row->code != code) {
    out += code;
    return;
  }
  decompose(row->first, out);
  if (row->second) decompose(row->second, out);
}

// The character that two make, or 0.
char32_t composed(char32_t first, char32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount)
    return kSyllables + ((first - kLeads) * kVowelCount + second - kVowels) * kTailCount;
  if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTailCount == 0 &&
      second > kTails && second - kTails < kTailCount)
    return first + second - kTails;
  const std::pair<char32_t, char32_t> pair{first, second};
  const Composition* end = kCompositions + kCompositionsCount;
  const Composition* row =
      std::lower_bound(kCompositions, end, pair, [](const Composition& r, const auto& p) {
        return std::pair<char32_t, char32_t>{r.first, r.second} < p;
      });
  return row != end && row->first == first && row->second == second ? row->code : 0;
}

}  // namespace

std::u32string to_nfd(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (const char32_t code : text) decompose(code, out);
  // Marks between two starters are put in the order of their classes; equal ones stay as they are.
  for (size_t at = 0; at < out.size(); ++at) {
    if (!combining_class(out[at])) continue;
    size_t end = at;
    while (end < out.size() && combining_class(out[end])) ++end;
    std::stable_sort(out.begin() + at, out.begin() + end, [](char32_t a, char32_t b) {
      return combining_class(a) < combining_class(b);
    });
    at = end;
  }
  return out;
}

std::u32string to_nfc(std::u32string_view text) {
  const std::u32string parts = to_nfd(text);
  std::u32string out;
  out.reserve(parts.size());
  constexpr size_t kNone = SIZE_MAX;
  size_t starter = kNone;
  int last = 0;  // class of the character behind the starter that `out` ends with; -1: none
  for (const char32_t code : parts) {
    const int kind = combining_class(code);
    // A mark is blocked by one of the same or a higher class, a starter by anything between.
    if (starter != kNone && last < kind) {
      if (const char32_t one = composed(out[starter], code)) {
        out[starter] = one;
        continue;
      }
    }
    if (kind == 0) starter = out.size();
    last = kind == 0 ? -1 : kind;
    out += code;
  }
  return out;
}

}  // namespace c4n
