// Splits texts into words, within which tokens are looked for: the pre_tokenizer of a tokenizer.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../json.hpp"
#include "piece.hpp"

namespace c4n {

class PreTokenizer {
 public:
  // Null stands for none. Throws Error for a kind that is not supported.
  PreTokenizer(const json::Value& value, const std::string& where);
  // Splits the pieces that are no tokens.
  Pieces operator()(Pieces pieces) const;

 private:
  using Step = std::function<Pieces(const Piece&)>;
  void add(const json::Value& value, const std::string& where);
  void add_byte_level(const json::Object& object, const std::string& where);
  void add_metaspace(const json::Object& object, const std::string& where);
  std::vector<Step> steps_;
};

}  // namespace c4n
