#include "added_tokens.hpp"

#include <algorithm>

#include "unicode.hpp"

namespace c4n {

AddedTokens::AddedTokens(const json::Value& value, const Bpe& model, const Normalizer& normalizer,
                         const std::string& where)
    : as_written_(1), normalized_(1) {
  if (value.is_null()) return;
  int32_t next = static_cast<int32_t>(model.size());
  for (const auto& each : as<json::Array>(value, where + ": added_tokens")) {
    const std::string place = where + ": added token " + std::to_string(tokens_.size());
    const auto& token = as<json::Object>(each, place);
    const auto& content = member<std::string>(token, "content", place);
    if (content.empty()) continue;
    const auto id = member<int64_t>(token, "id", place);
    const int32_t known = model.id_of(content);
    const int32_t expected = known >= 0 ? known : next++;
    if (id != expected)
      throw Error(place + " has id " + std::to_string(id) + " and would get " +
                  std::to_string(expected) + kRemedy);
    if (member_or<bool>(token, "single_word", false, place))
      throw Error(place + ": 'single_word" + kOnTheHost);
    const auto text = decode_utf8(content, place);
    tokens_.push_back({expected, member_or<bool>(token, "lstrip", false, place),
                       member_or<bool>(token, "rstrip", false, place)});
    if (member_or<bool>(token, "normalized", true, place)) {
      const auto normal = normalizer(text);
      insert(normalized_, normal);
      texts_[expected] = encode_utf8(normal);
    } else {
      insert(as_written_, text);
      texts_[expected] = content;
    }
    if (member_or<bool>(token, "special", false, place)) special_[content] = true;
  }
}

void AddedTokens::insert(Trie& trie, std::u32string_view text) {
  uint32_t at = 0;
  for (const char32_t code : text) {
    auto [found, fresh] = trie[at].next.try_emplace(code, static_cast<uint32_t>(trie.size()));
    at = found->second;
    if (fresh) trie.emplace_back();
  }
  if (at) trie[at].token = static_cast<int32_t>(tokens_.size()) - 1;
}

Pieces AddedTokens::split(const Piece& piece, const Trie& trie) const {
  const std::u32string& text = piece.text;
  Pieces found;
  size_t done = 0;
  const auto add = [&](size_t from, size_t to, int32_t token) {
    if (to > from)
      found.push_back({text.substr(from, to - from), piece.starts && from == 0, token});
  };
  for (size_t at = 0; at < text.size();) {
    // Of the tokens that begin here, the longest one.
    size_t end = at;
    int32_t index = -1;
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      const auto next = trie[node].next.find(text[i]);
      if (next == trie[node].next.end()) break;
      node = next->second;
      if (trie[node].token >= 0) index = trie[node].token, end = i + 1;
    }
    if (index < 0) {
      ++at;
      continue;
    }
    const Token& token = tokens_[static_cast<size_t>(index)];
    size_t from = at, to = end;
    if (token.strips_left) {
      while (from > 0 && is_space(text[from - 1])) --from;
      from = std::max(from, done);
    }
    if (token.strips_right)
      while (to < text.size() && is_space(text[to])) ++to;
    add(done, from, -1);
    add(from, to, token.id);
    done = to;
    at = end;
  }
  add(done, text.size(), -1);
  return found;
}

Pieces AddedTokens::extract(std::u32string text, const Normalizer& normalizer) const {
  Pieces found;
  for (Piece& piece : split({std::move(text), true, -1}, as_written_)) {
    if (piece.token >= 0) {
      found.push_back(std::move(piece));
      continue;
    }
    piece.text = normalizer(std::move(piece.text));
    for (Piece& part : split(piece, normalized_)) found.push_back(std::move(part));
  }
  return found;
}

const std::string* AddedTokens::text_of(int32_t id) const {
  const auto found = texts_.find(id);
  return found == texts_.end() ? nullptr : &found->second;
}

bool AddedTokens::is_special(const std::string& text) const { return special_.count(text) > 0; }

}  // namespace c4n
