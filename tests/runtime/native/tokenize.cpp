// The runner's tokenizer alone, for tests that compile it with sanitizers.
//
//   tokenize TOKENIZER.JSON < TEXTS > RESULTS
//
// A text is its number of bytes (32 bits) and they; a result the number of tokens, they (32 bits
// each), the number of bytes of the text that they are decoded to, and they.
#include <cstdio>
#include <iostream>

#include "text/tokenizer.hpp"

namespace {

void write(const void* data, size_t bytes) { std::cout.write(static_cast<const char*>(data), bytes); }

template <typename Values>
void write_all(const Values& values) {
  const auto count = static_cast<uint32_t>(values.size());
  write(&count, sizeof count);
  write(values.data(), count * sizeof values[0]);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  try {
    const c4n::Tokenizer tokenizer(arguments[1]);
    uint32_t size;
    while (std::cin.read(reinterpret_cast<char*>(&size), sizeof size)) {
      std::string text(size, 0);
      if (!std::cin.read(text.data(), size)) return 2;
      const auto tokens = tokenizer.encode_prompt(text);
      write_all(tokens);
      write_all(tokenizer.decode(tokens));
    }
  } catch (const c4n::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
