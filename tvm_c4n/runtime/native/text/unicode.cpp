#include "unicode.hpp"

#include <algorithm>

#include "unicode_tables.hpp"

namespace c4n {
namespace {

// In the order of tools/unicode_tables.py.
constexpr std::string_view kNames =
    "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCoCn";

// The last row that begins at or before `code`.
template <typename Row>
const Row* row_of(const Row* rows, size_t count, char32_t code) {
  const Row* after = std::upper_bound(
      rows, rows + count, code, [](char32_t c, const Row& row) { return c < row.first; });
  return after == rows ? nullptr : after - 1;
}

bool is_in(const CodeRun* rows, size_t count, char32_t code) {
  const CodeRun* row = row_of(rows, count, code);
  return row && code <= row->last;
}

}  // namespace

uint32_t category_bits(std::string_view name) {
  uint32_t bits = 0;
  for (size_t i = 0; i < kNames.size(); i += 2)
    if (name == kNames.substr(i, 2) || name == kNames.substr(i, 1)) bits |= 1u << i / 2;
  return bits;
}

uint32_t category_bit_of(char32_t code) {
  return 1u << row_of(kCategories, kCategoriesCount, code)->category;
}

bool is_space(char32_t code) { return is_in(kSpaces, kSpacesCount, code); }
bool is_numeric(char32_t code) { return is_in(kNumeric, kNumericCount, code); }
bool is_punctuation(char32_t code) { return is_in(kPunctuation, kPunctuationCount, code); }

}  // namespace c4n
