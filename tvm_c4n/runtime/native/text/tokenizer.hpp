// Texts to tokens and back, as a model's tokenizer.json says: what the package `tokenizers` gives.
//
// Byte pair encoding alone, at the level of bytes or of characters. What a file asks for beyond that
// is refused when it is read, in one line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "added_tokens.hpp"
#include "bpe.hpp"
#include "decoder.hpp"
#include "normalizer.hpp"
#include "pre_tokenizer.hpp"

namespace c4n {

class Tokenizer {
 public:
  // Throws Error for a file that is missing, damaged, or of a kind that is not supported.
  explicit Tokenizer(const std::string& file);

  // The tokens of a piece of text: nothing is put around it. Throws Error where it is not UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;
  // The same with what the tokenizer puts around a whole text.
  std::vector<int32_t> encode_prompt(std::string_view text) const;
  // The text of tokens: special ones, and those that there are not, have none.
  std::string decode(const std::vector<int32_t>& tokens) const;

 private:
  Tokenizer(const json::Object& content, const std::string& file);
  void read_post_processor(const json::Value& value, const std::string& where);
  void read_template(const json::Object& processor, const std::string& where);

  Bpe model_;
  Normalizer normalizer_;
  AddedTokens added_;
  PreTokenizer pre_tokenizer_;
  Decoder decoder_;
  std::vector<int32_t> front_, back_;  // what stands around a whole text
};

}  // namespace c4n
