#include "input.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <iostream>

namespace c4n_run {
namespace {

// Some million tokens, hours of reading: who sends more has sent something else.
constexpr size_t kMostBytes = 16 << 20;
constexpr size_t kMostTokens = 1 << 24;
constexpr int kLongestWord = 24;  // what is longer is no number

}  // namespace

std::string read_text(const Options& options) {
  if (options.prompt) return *options.prompt;
  const bool from_stdin = *options.file == "-";
  const std::string name = from_stdin ? "stdin" : *options.file;
  std::ifstream file;
  if (!from_stdin) {
    file.open(*options.file, std::ios::binary);
    if (!file) throw Failure(name + ": cannot be read: " + std::strerror(errno));
  }
  std::istream& stream = from_stdin ? std::cin : file;
  std::string text(kMostBytes + 1, 0);
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) throw Failure(name + ": cannot be read");
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMostBytes) throw Failure(name + ": longer than 16 MiB, which is no prompt");
  if (!text.empty() && text.back() == '\n') text.pop_back();
  if (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

std::vector<int32_t> read_tokens() {
  std::vector<int32_t> tokens;
  for (std::string word; std::cin >> std::setw(kLongestWord) >> word;) {
    char* end = nullptr;
    errno = 0;
    const long value = std::strtol(word.c_str(), &end, 10);
    if (end != word.c_str() + word.size() || errno || value < 0 || value > INT32_MAX)
      throw Failure("stdin: '" + word + "' is no token id");
    tokens.push_back(static_cast<int32_t>(value));
    if (tokens.size() > kMostTokens) throw Failure("stdin: more than 16 million tokens");
  }
  return tokens;
}

}  // namespace c4n_run
