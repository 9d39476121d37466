#include "tokenizer.hpp"

#include "unicode.hpp"

namespace c4n {

const char* const kOnTheHost = "' is not supported on a device: tokenise on the host";

namespace {

constexpr int64_t kMaxBytes = 1 << 28;

}  // namespace

Tokenizer::Tokenizer(const std::string& file) : Tokenizer(read_object(file, kMaxBytes), file) {}

Tokenizer::Tokenizer(const json::Object& content, const std::string& file)
    : model_(content["model"], file),
      normalizer_(content["normalizer"], file),
      added_(content["added_tokens"], model_, normalizer_, file),
      pre_tokenizer_(content["pre_tokenizer"], file),
      decoder_(content["decoder"], file) {
  for (const char* key : {"truncation", "padding"})
    if (!content[key].is_null()) throw Error(file + ": '" + key + kOnTheHost);
  read_post_processor(content["post_processor"], file + ": post_processor");
}

void Tokenizer::read_post_processor(const json::Value& value, const std::string& where) {
  if (value.is_null()) return;
  const auto& processor = as<json::Object>(value, where);
  const std::string kind = member<std::string>(processor, "type", where);
  if (kind == "Sequence") {
    for (const auto& one : member<json::Array>(processor, "processors", where))
      read_post_processor(one, where);
  } else if (kind == "TemplateProcessing") {
    read_template(processor, where);
  } else if (kind != "ByteLevel") {  // that one changes offsets alone
    throw Error(where + " '" + kind + kOnTheHost);
  }
}

void Tokenizer::read_template(const json::Object& processor, const std::string& where) {
  const auto& specials = member<json::Object>(processor, "special_tokens", where);
  std::vector<int32_t> front, back;
  int texts = 0;
  for (const auto& value : member<json::Array>(processor, "single", where)) {
    const auto& item = as<json::Object>(value, where);
    const json::Value& special = item["SpecialToken"];
    if (special.is_null()) {
      member<json::Object>(item, "Sequence", where);
      ++texts;
      continue;
    }
    const auto& name = member<std::string>(as<json::Object>(special, where), "id", where);
    const auto& token = as<json::Object>(specials[name], where);
    for (const auto& id : member<json::Array>(token, "ids", where))
      (texts ? back : front).push_back(static_cast<int32_t>(as<int64_t>(id, where)));
  }
  if (texts != 1) throw Error(where + " 'single' without one text" + kRemedy);
  front_.insert(front_.begin(), front.begin(), front.end());
  back_.insert(back_.end(), back.begin(), back.end());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> tokens;
  const Pieces pieces =
      pre_tokenizer_(added_.extract(decode_utf8(text, "the text"), normalizer_));
  for (const Piece& piece : pieces)
    if (piece.token >= 0) tokens.push_back(piece.token);
    else model_.encode(piece.text, tokens);
  return tokens;
}

std::vector<int32_t> Tokenizer::encode_prompt(std::string_view text) const {
  std::vector<int32_t> tokens = front_;
  const std::vector<int32_t> inner = encode(text);
  tokens.insert(tokens.end(), inner.begin(), inner.end());
  tokens.insert(tokens.end(), back_.begin(), back_.end());
  return tokens;
}

std::string Tokenizer::decode(const std::vector<int32_t>& tokens) const {
  std::vector<std::string> texts;
  for (const int32_t id : tokens) {
    const std::string* text = added_.text_of(id);
    if (!text) text = model_.token_of(id);
    if (text && !added_.is_special(*text)) texts.push_back(*text);
  }
  return decoder_(std::move(texts));
}

}  // namespace c4n
