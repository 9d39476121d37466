#include "decoder.hpp"

#include <algorithm>

#include "byte_level.hpp"
#include "pattern.hpp"
#include "piece.hpp"
#include "unicode.hpp"

namespace c4n {
namespace {

using Tokens = std::vector<std::string>;

Tokens byte_level(const Tokens& tokens) {
  std::string bytes;
  for (const auto& token : tokens) append_bytes(bytes, token);
  return {encode_utf8(decode_utf8_lossy(bytes))};
}

Tokens fuse(const Tokens& tokens) {
  std::string all;
  for (const auto& token : tokens) all += token;
  return {all};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The byte that a token such as <0x0A> stands for, or -1.
int byte_of(const std::string& token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") || token[5] != '>') return -1;
  const int high = hex_digit(token[3]), low = hex_digit(token[4]);
  // As the package `tokenizers`, which reads a sign, too.
  if (token[3] == '+') return low;
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

Tokens byte_fallback(const Tokens& tokens) {
  Tokens found;
  std::string bytes;
  const auto end_bytes = [&] {
    if (is_utf8(bytes)) {
      if (!bytes.empty()) found.push_back(bytes);
    } else {
      found.insert(found.end(), bytes.size(), encode_utf8({&kReplacement, 1}));
    }
    bytes.clear();
  };
  for (const auto& token : tokens) {
    const int byte = byte_of(token);
    if (byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    end_bytes();
    found.push_back(token);
  }
  end_bytes();
  return found;
}

// Takes up to so many of a character off each end of each token.
std::string stripped(const std::string& token, char32_t code, int64_t start, int64_t stop) {
  const std::u32string text = decode_utf8_lossy(token);
  auto from = text.begin(), to = text.end();
  while (start-- > 0 && from != to && *from == code) ++from;
  while (stop-- > 0 && to != from && to[-1] == code) --to;
  return encode_utf8(std::u32string(from, to));
}

char32_t character_of(const json::Object& object, const char* key, const std::string& where) {
  const auto text = decode_utf8(member<std::string>(object, key, where), where);
  if (text.size() != 1) throw Error(where + ": " + key + " is no character" + kRemedy);
  return text[0];
}

}  // namespace

Decoder::Decoder(const json::Value& value, const std::string& where) : none_(value.is_null()) {
  if (!none_) add(value, where + ": decoder");
}

void Decoder::add(const json::Value& value, const std::string& where) {
  const auto& object = as<json::Object>(value, where);
  const std::string kind = member<std::string>(object, "type", where);
  const auto each = [&](auto change) {
    steps_.emplace_back([change](Tokens tokens) {
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = change(tokens[i], i);
      return tokens;
    });
  };
  if (kind == "Sequence") {
    for (const auto& one : member<json::Array>(object, "decoders", where)) add(one, where);
  } else if (kind == "ByteLevel") {
    steps_.emplace_back(byte_level);
  } else if (kind == "ByteFallback") {
    steps_.emplace_back(byte_fallback);
  } else if (kind == "Fuse") {
    steps_.emplace_back(fuse);
  } else if (kind == "Replace") {
    const auto content = decode_utf8(member<std::string>(object, "content", where), where);
    each([pattern = Pattern(object, where), content](const std::string& token, size_t) {
      return encode_utf8(pattern.replaced(decode_utf8_lossy(token), content));
    });
  } else if (kind == "Strip") {
    const char32_t code = character_of(object, "content", where);
    const auto start = member<int64_t>(object, "start", where);
    const auto stop = member<int64_t>(object, "stop", where);
    each([=](const std::string& token, size_t) { return stripped(token, code, start, stop); });
  } else if (kind == "Metaspace") {
    const char32_t sign = character_of(object, "replacement", where);
    const bool prepends =
        member_or<bool>(object, "add_prefix_space", true, where) &&
        member_or<std::string>(object, "prepend_scheme", "always", where) != "never";
    each([=](const std::string& token, size_t index) {
      std::u32string text = decode_utf8_lossy(token);
      if (index == 0 && prepends) text.erase(std::remove(text.begin(), text.end(), sign), text.end());
      std::replace(text.begin(), text.end(), sign, U' ');
      return encode_utf8(text);
    });
  } else {
    throw Error(where + " '" + kind + kOnTheHost);
  }
}

std::string Decoder::operator()(std::vector<std::string> tokens) const {
  for (const auto& step : steps_) tokens = step(tokens);
  std::string text;
  for (size_t i = 0; i < tokens.size(); ++i) text += (none_ && i ? " " : "") + tokens[i];
  return text;
}

}  // namespace c4n
