// Turns the texts of tokens into a text: the decoder of a tokenizer.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../json.hpp"

namespace c4n {

class Decoder {
 public:
  // Null stands for none: spaces part the tokens then. Throws Error for a kind that is not supported.
  Decoder(const json::Value& value, const std::string& where);
  // Returns UTF-8; U+FFFD for bytes that are none.
  std::string operator()(std::vector<std::string> tokens) const;

 private:
  using Tokens = std::vector<std::string>;
  void add(const json::Value& value, const std::string& where);
  std::vector<std::function<Tokens(const Tokens&)>> steps_;
  bool none_ = false;
};

}  // namespace c4n
