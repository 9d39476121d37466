// Tokens to text one by one, so that the parts together are the whole text.
#pragma once

#include <string>
#include <vector>

#include "tokenizer.hpp"

namespace c4n {

class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  // Adds a token; returns the text that is complete by it. A part of a character waits.
  std::string put(int32_t token);
  // Returns what still waits: a broken character, as U+FFFD.
  std::string end();

 private:
  std::string text() const;

  const Tokenizer& tokenizer_;
  // What was given stays in front of what waits: some tokenizers drop the space in front of the
  // first word that they decode.
  std::vector<int32_t> before_, waiting_;
};

}  // namespace c4n
