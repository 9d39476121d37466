#include "bpe.hpp"

#include <cstdio>
#include <queue>

#include "piece.hpp"
#include "unicode.hpp"

namespace c4n {
namespace {

uint64_t key_of(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

bool is_set(const json::Object& model, const char* key) {
  const auto value = model[key];
  if (value.is_null()) return false;
  const auto text = value.as<std::string>();
  return !text || !text->empty();
}

}  // namespace

Bpe::Bpe(const json::Value& value, const std::string& where) {
  const std::string place = where + ": model";
  const auto& model = as<json::Object>(value, place);
  // Files of before 2020 do not name the kind.
  const auto kind = member_or<std::string>(model, "type", "BPE", place);
  if (kind != "BPE") throw Error(place + " '" + kind + kOnTheHost);
  read_vocab(model, place);
  read_merges(model, place);
  read_options(model, place);
}

void Bpe::read_options(const json::Object& model, const std::string& where) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (is_set(model, key)) throw Error(where + ": '" + key + kOnTheHost);
  const json::Value& dropout = model["dropout"];
  const auto* share = dropout.as<double>();
  if (!dropout.is_null() && !(share && *share == 0))
    throw Error(where + ": 'dropout" + kOnTheHost);
  if (is_set(model, "unk_token")) {
    unknown_ = id_of(member<std::string>(model, "unk_token", where));
    if (unknown_ < 0) throw Error(where + ": unk_token is no token of it" + kRemedy);
  }
  fuses_unknown_ = member_or<bool>(model, "fuse_unk", false, where);
  byte_fallback_ = member_or<bool>(model, "byte_fallback", false, where);
  ignores_merges_ = member_or<bool>(model, "ignore_merges", false, where);
}

void Bpe::read_vocab(const json::Object& model, const std::string& where) {
  const auto& vocab = member<json::Object>(model, "vocab", where).members;
  ids_.reserve(vocab.size());
  texts_.reserve(vocab.size());
  for (const auto& [token, value] : vocab) {
    const auto id = as<int64_t>(value, where + ": vocab");
    if (id < 0 || id > INT32_MAX) throw Error(where + ": vocab has an id out of range" + kRemedy);
    ids_.emplace(token, static_cast<int32_t>(id));
    texts_.emplace(static_cast<int32_t>(id), token);
  }
}

void Bpe::read_merges(const json::Object& model, const std::string& where) {
  const auto& merges = member<json::Array>(model, "merges", where);
  merges_.reserve(merges.size());
  uint32_t rank = 0;
  for (const auto& value : merges) {
    const std::string place = where + ": merge " + std::to_string(rank);
    std::string left, right;
    if (const auto line = value.as<std::string>()) {  // how files of before 2024 write it
      const std::string& text = *line;
      const size_t space = text.find(' ');
      if (space == text.npos || text.find(' ', space + 1) != text.npos)
        throw Error(place + " is not two tokens" + kRemedy);
      left = text.substr(0, space), right = text.substr(space + 1);
    } else {
      const auto& pair = as<json::Array>(value, place);
      if (pair.size() != 2) throw Error(place + " is not two tokens" + kRemedy);
      left = as<std::string>(pair[0], place), right = as<std::string>(pair[1], place);
    }
    const int32_t first = id_of(left), second = id_of(right), both = id_of(left + right);
    if (first < 0 || second < 0 || both < 0)
      throw Error(place + " is of tokens that are not in the vocabulary" + kRemedy);
    merges_[key_of(first, second)] = {rank++, both};
  }
}

int32_t Bpe::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

const std::string* Bpe::token_of(int32_t id) const {
  const auto found = texts_.find(id);
  return found == texts_.end() ? nullptr : &found->second;
}

bool Bpe::append_as_bytes(const std::string& character, std::vector<int32_t>& tokens) const {
  std::vector<int32_t> found;
  for (const char byte : character) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned char>(byte));
    found.push_back(id_of(name));
    if (found.back() < 0) return false;
  }
  tokens.insert(tokens.end(), found.begin(), found.end());
  return true;
}

std::vector<int32_t> Bpe::characters(std::u32string_view word) const {
  std::vector<int32_t> tokens;
  // As in `tokenizers`, an unknown character stands behind the bytes of others that follow it.
  bool unknown = false;
  for (const char32_t code : word) {
    std::string character;
    append_utf8(character, code);
    if (const int32_t id = id_of(character); id >= 0) {
      if (unknown) tokens.push_back(unknown_);
      unknown = false;
      tokens.push_back(id);
      continue;
    }
    if (byte_fallback_ && append_as_bytes(character, tokens)) continue;
    if (unknown_ < 0) continue;
    if (unknown && !fuses_unknown_) tokens.push_back(unknown_);
    unknown = true;
  }
  if (unknown) tokens.push_back(unknown_);
  return tokens;
}

const Bpe::Merge* Bpe::merge_of(int32_t left, int32_t right) const {
  const auto found = merges_.find(key_of(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

// The pair of the lowest rank is merged first, of equal ones the leftmost.
void Bpe::merge(std::vector<int32_t>& tokens) const {
  const auto count = static_cast<int32_t>(tokens.size());
  std::vector<int32_t> before(tokens.size()), after(tokens.size());
  struct Candidate {
    uint32_t rank;
    int32_t at, token;
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  std::priority_queue<Candidate> queue;
  const auto propose = [&](int32_t at) {
    if (at < 0 || after[at] >= count) return;
    if (const Merge* found = merge_of(tokens[at], tokens[after[at]]))
      queue.push({found->rank, at, found->token});
  };
  for (int32_t i = 0; i < count; ++i) before[i] = i - 1, after[i] = i + 1;
  for (int32_t i = 0; i < count; ++i) propose(i);
  while (!queue.empty()) {
    const Candidate now = queue.top();
    queue.pop();
    const int32_t right = after[now.at];
    if (tokens[now.at] < 0 || right >= count) continue;
    // One of the two may have been merged since.
    const Merge* still = merge_of(tokens[now.at], tokens[right]);
    if (!still || still->token != now.token) continue;
    tokens[now.at] = now.token;
    tokens[right] = -1;
    after[now.at] = after[right];
    if (after[right] < count) before[after[right]] = now.at;
    propose(before[now.at]);
    propose(now.at);
  }
  size_t kept = 0;
  for (const int32_t token : tokens)
    if (token >= 0) tokens[kept++] = token;
  tokens.resize(kept);
}

void Bpe::encode(std::u32string_view word, std::vector<int32_t>& tokens) const {
  if (ignores_merges_)
    if (const int32_t id = id_of(encode_utf8(word)); id >= 0) return tokens.push_back(id);
  std::vector<int32_t> found = characters(word);
  merge(found);
  tokens.insert(tokens.end(), found.begin(), found.end());
}

}  // namespace c4n
