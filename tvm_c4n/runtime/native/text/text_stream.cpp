#include "text_stream.hpp"

#include <algorithm>

#include "unicode.hpp"

namespace c4n {
namespace {

// A character of UTF-8 has at most 4 bytes, so at most 4 tokens of a byte-level tokenizer.
constexpr size_t kMaxTokensOfCharacter = 4;

}  // namespace

std::string TextStream::put(int32_t token) {
  waiting_.push_back(token);
  std::string found = text();
  const std::string broken = encode_utf8({&kReplacement, 1});
  const bool cut_off = found.size() >= broken.size() &&
                       found.compare(found.size() - broken.size(), broken.size(), broken) == 0;
  if (cut_off && waiting_.size() < kMaxTokensOfCharacter) return "";
  before_ = std::move(waiting_);
  waiting_.clear();
  return found;
}

std::string TextStream::end() {
  std::string found = waiting_.empty() ? "" : text();
  waiting_.clear();
  return found;
}

std::string TextStream::text() const {
  std::vector<int32_t> all = before_;
  all.insert(all.end(), waiting_.begin(), waiting_.end());
  // By characters: what was broken before may be a whole character now, of other bytes.
  const std::u32string text = decode_utf8_lossy(tokenizer_.decode(all));
  const size_t given = decode_utf8_lossy(tokenizer_.decode(before_)).size();
  return encode_utf8(std::u32string_view(text).substr(std::min(given, text.size())));
}

}  // namespace c4n
