#include "pattern.hpp"

#include "unicode.hpp"

namespace c4n {

Pattern::Pattern(const json::Object& object, const std::string& where) {
  const auto& pattern = member<json::Object>(object, "pattern", where);
  if (!pattern["Regex"].is_null()) {
    const std::string text = member<std::string>(pattern, "Regex", where);
    regex_.emplace(text, where + ": the regular expression");
    return;
  }
  string_ = decode_utf8(member<std::string>(pattern, "String", where), where);
  if (string_.empty()) throw Error(where + ": the pattern is empty" + kRemedy);
}

std::vector<std::pair<size_t, size_t>> Pattern::find_all(std::u32string_view text) const {
  if (regex_) return regex_->find_all(text);
  std::vector<std::pair<size_t, size_t>> found;
  for (size_t at = 0; (at = text.find(string_, at)) != text.npos; at += string_.size())
    found.emplace_back(at, at + string_.size());
  return found;
}

std::u32string Pattern::replaced(std::u32string_view text, std::u32string_view by) const {
  std::u32string out;
  size_t end = 0;
  for (const auto& [from, to] : find_all(text)) {
    out.append(text, end, from - end).append(by);
    end = to;
  }
  return out.append(text, end, text.npos);
}

}  // namespace c4n
