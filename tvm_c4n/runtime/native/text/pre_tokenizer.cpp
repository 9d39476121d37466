#include "pre_tokenizer.hpp"

#include <memory>

#include "byte_level.hpp"
#include "pattern.hpp"
#include "splitting.hpp"
#include "unicode.hpp"

namespace c4n {
namespace {

// Each character that is one of a kind is a match.
std::vector<std::pair<size_t, size_t>> characters(std::u32string_view text, bool (*is)(char32_t)) {
  std::vector<std::pair<size_t, size_t>> found;
  for (size_t at = 0; at < text.size(); ++at)
    if (is(text[at])) found.emplace_back(at, at + 1);
  return found;
}

}  // namespace

PreTokenizer::PreTokenizer(const json::Value& value, const std::string& where) {
  if (!value.is_null()) add(value, where + ": pre_tokenizer");
}

void PreTokenizer::add(const json::Value& value, const std::string& where) {
  const auto& object = as<json::Object>(value, where);
  const std::string kind = member<std::string>(object, "type", where);
  const auto behavior = [&](const char* otherwise) {
    return behavior_of(member_or<std::string>(object, "behavior", otherwise, where), where);
  };
  if (kind == "Sequence") {
    for (const auto& one : member<json::Array>(object, "pretokenizers", where)) add(one, where);
  } else if (kind == "ByteLevel") {
    add_byte_level(object, where);
  } else if (kind == "Metaspace") {
    add_metaspace(object, where);
  } else if (kind == "Split") {
    const bool invert = member_or<bool>(object, "invert", false, where);
    steps_.emplace_back(
        [pattern = Pattern(object, where), how = behavior("Isolated"), invert](const Piece& piece) {
          return split_at(piece, pattern.find_all(piece.text), how, invert);
        });
  } else if (kind == "Punctuation") {
    steps_.emplace_back([how = behavior("Isolated")](const Piece& piece) {
      return split_at(piece, characters(piece.text, is_punctuation), how, false);
    });
  } else if (kind == "Digits") {
    const bool each = member_or<bool>(object, "individual_digits", false, where);
    steps_.emplace_back([how = each ? Behavior::kIsolated : Behavior::kContiguous](const Piece& p) {
      return split_at(p, characters(p.text, is_numeric), how, false);
    });
  } else {
    throw Error(where + " '" + kind + kOnTheHost);
  }
}

void PreTokenizer::add_byte_level(const json::Object& object, const std::string& where) {
  const bool prefix = member_or<bool>(object, "add_prefix_space", true, where);
  std::shared_ptr<const Regex> regex;
  if (member_or<bool>(object, "use_regex", true, where))
    regex = std::make_shared<const Regex>(byte_level_regex());
  steps_.emplace_back([prefix, regex](Piece piece) {
    if (prefix && piece.text.compare(0, 1, U" ") != 0) piece.text = U" " + piece.text;
    Pieces found{piece};
    if (regex) found = split_at(piece, regex->find_all(piece.text), Behavior::kIsolated, false);
    for (Piece& one : found) one.text = to_byte_characters(one.text);
    return found;
  });
}

void PreTokenizer::add_metaspace(const json::Object& object, const std::string& where) {
  const auto sign = decode_utf8(member<std::string>(object, "replacement", where), where);
  if (sign.size() != 1) throw Error(where + ": replacement is no character" + kRemedy);
  auto scheme = member_or<std::string>(object, "prepend_scheme", "always", where);
  if (!member_or<bool>(object, "add_prefix_space", true, where)) scheme = "never";
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw Error(where + ": prepend_scheme '" + scheme + kOnTheHost);
  const bool split = member_or<bool>(object, "split", true, where);
  steps_.emplace_back([sign = sign[0], scheme, split](Piece piece) -> Pieces {
    for (char32_t& code : piece.text)
      if (code == U' ') code = sign;
    const bool there = !piece.text.empty() && piece.text[0] == sign;
    if (!there && (scheme == "always" || (scheme == "first" && piece.starts)))
      piece.text = sign + piece.text;
    if (!split) return {piece};
    std::vector<std::pair<size_t, size_t>> signs;
    for (size_t at = 0; at < piece.text.size(); ++at)
      if (piece.text[at] == sign) signs.emplace_back(at, at + 1);
    return split_at(piece, signs, Behavior::kMergedWithNext, false);
  });
}

Pieces PreTokenizer::operator()(Pieces pieces) const {
  for (const auto& step : steps_) {
    Pieces next;
    for (Piece& piece : pieces) {
      if (piece.token >= 0) {
        next.push_back(std::move(piece));
        continue;
      }
      for (Piece& part : step(piece))
        if (!part.text.empty()) next.push_back(std::move(part));
    }
    pieces = std::move(next);
  }
  return pieces;
}

}  // namespace c4n
