// Byte pair encoding: the model of a tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "../json.hpp"

namespace c4n {

class Bpe {
 public:
  // Throws Error for another kind of model, for options that are not supported, and for merges of
  // tokens that are not there.
  Bpe(const json::Value& value, const std::string& where);

  size_t size() const { return ids_.size(); }
  // -1 for a token that is not there.
  int32_t id_of(const std::string& token) const;
  // Null for an id without a token.
  const std::string* token_of(int32_t id) const;
  // Adds the tokens of a word.
  void encode(std::u32string_view word, std::vector<int32_t>& tokens) const;

 private:
  struct Merge {
    uint32_t rank;
    int32_t token;
  };
  void read_vocab(const json::Object& model, const std::string& where);
  void read_merges(const json::Object& model, const std::string& where);
  void read_options(const json::Object& model, const std::string& where);
  std::vector<int32_t> characters(std::u32string_view word) const;
  bool append_as_bytes(const std::string& character, std::vector<int32_t>& tokens) const;
  const Merge* merge_of(int32_t left, int32_t right) const;
  void merge(std::vector<int32_t>& tokens) const;

  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int32_t, std::string> texts_;
  std::unordered_map<uint64_t, Merge> merges_;
  int32_t unknown_ = -1;          // stands for characters without a token; -1: they are dropped
  bool fuses_unknown_ = false;    // neighbours that are unknown share one token
  bool byte_fallback_ = false;    // characters without a token become those of their bytes
  bool ignores_merges_ = false;   // a word that is a token is not merged from its characters
};

}  // namespace c4n
