#include "stop_strings.hpp"

#include <algorithm>

#include "../file.hpp"

namespace c4n {
namespace {

// Length of the longest end of a text that a string begins with.
size_t overlap(const std::string& text, const std::string& string) {
  for (size_t n = std::min(text.size(), string.size() - 1); n > 0; --n)
    if (text.compare(text.size() - n, n, string, 0, n) == 0) return n;
  return 0;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const auto& string : strings_)
    if (string.empty())
      throw Error("a stop string is empty, which every text begins with: leave it out");
}

std::string StopStrings::put(const std::string& piece) {
  if (found_) return "";
  std::string text = std::move(waiting_) + piece;
  waiting_.clear();
  size_t at = text.npos, held = 0;
  for (const auto& string : strings_) at = std::min(at, text.find(string));
  if (at != text.npos) {
    found_ = true;
    return text.substr(0, at);
  }
  for (const auto& string : strings_) held = std::max(held, overlap(text, string));
  waiting_ = text.substr(text.size() - held);
  text.resize(text.size() - held);
  return text;
}

std::string StopStrings::end() { return std::move(waiting_); }

}  // namespace c4n
