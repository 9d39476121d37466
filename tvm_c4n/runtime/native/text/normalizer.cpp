#include "normalizer.hpp"

#include "pattern.hpp"
#include "piece.hpp"
#include "unicode.hpp"

namespace c4n {

Normalizer::Normalizer(const json::Value& value, const std::string& where) {
  if (!value.is_null()) add(value, where + ": normalizer");
}

void Normalizer::add(const json::Value& value, const std::string& where) {
  const auto& object = as<json::Object>(value, where);
  const std::string kind = member<std::string>(object, "type", where);
  if (kind == "Sequence") {
    for (const auto& one : member<json::Array>(object, "normalizers", where)) add(one, where);
  } else if (kind == "NFC") {
    steps_.emplace_back(to_nfc);
  } else if (kind == "NFD") {
    steps_.emplace_back(to_nfd);
  } else if (kind == "Prepend") {
    const auto front = decode_utf8(member<std::string>(object, "prepend", where), where);
    steps_.emplace_back([front](const auto& text) { return text.empty() ? text : front + text; });
  } else if (kind == "Replace") {
    const auto content = decode_utf8(member<std::string>(object, "content", where), where);
    steps_.emplace_back([pattern = Pattern(object, where), content](const auto& text) {
      return pattern.replaced(text, content);
    });
  } else {
    throw Error(where + " '" + kind + kOnTheHost);
  }
}

std::u32string Normalizer::operator()(std::u32string text) const {
  for (const auto& step : steps_) text = step(text);
  return text;
}

}  // namespace c4n
