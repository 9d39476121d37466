// What the tokenizer knows of Unicode; written by tools/unicode_tables.py. Rows are sorted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace c4n {

struct CategoryRun {
  uint32_t first;  // the run ends where the next one begins
  uint8_t category;
};
struct CodeRun {
  uint32_t first, last;
};
struct CombiningRun {
  uint32_t first, last;
  uint8_t kind;
};
struct Decomposition {
  uint32_t code, first, second;  // second is 0 where there is none
};
struct Composition {
  uint32_t first, second, code;
};

extern const CategoryRun kCategories[];
extern const CodeRun kSpaces[], kNumeric[], kPunctuation[];
extern const CombiningRun kCombining[];
extern const Decomposition kDecompositions[];
extern const Composition kCompositions[];
extern const size_t kCategoriesCount, kSpacesCount, kNumericCount, kPunctuationCount,
    kCombiningCount, kDecompositionsCount, kCompositionsCount;

}  // namespace c4n
