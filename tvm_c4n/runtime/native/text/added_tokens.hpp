// Tokens that are looked for in a text before it is split: the added_tokens of a tokenizer.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "../json.hpp"
#include "bpe.hpp"
#include "normalizer.hpp"
#include "piece.hpp"

namespace c4n {

class AddedTokens {
 public:
  // Throws Error for a token whose id is not the one that it gets in the package `tokenizers`.
  AddedTokens(const json::Value& value, const Bpe& model, const Normalizer& normalizer,
              const std::string& where);

  // Normalises a text, and parts tokens from the rest of it.
  Pieces extract(std::u32string text, const Normalizer& normalizer) const;
  // What a token is decoded from, or null for one that is not among these.
  const std::string* text_of(int32_t id) const;
  // Whether a token with this text is special: those are left out of texts.
  bool is_special(const std::string& text) const;

 private:
  struct Token {
    int32_t id;
    bool strips_left, strips_right;
  };
  struct Node {
    std::map<char32_t, uint32_t> next;
    int32_t token = -1;  // index of a token that ends here
  };
  using Trie = std::vector<Node>;
  void insert(Trie& trie, std::u32string_view text);
  Pieces split(const Piece& piece, const Trie& trie) const;

  std::vector<Token> tokens_;
  Trie as_written_, normalized_;  // looked for before and after the text is normalised
  std::unordered_map<int32_t, std::string> texts_;
  std::unordered_map<std::string, bool> special_;
};

}  // namespace c4n
