#include "byte_level.hpp"

#include <array>

#include "unicode.hpp"

namespace c4n {
namespace {

constexpr char32_t kFirstOfOthers = 0x100;  // what cannot be printed follows, in order
constexpr size_t kCharacters = 0x144;

struct Table {
  std::array<char32_t, 256> characters{};
  std::array<int16_t, kCharacters> bytes{};
  Table() {
    bytes.fill(-1);
    char32_t other = kFirstOfOthers;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      characters[byte] = printable ? static_cast<char32_t>(byte) : other++;
      bytes[characters[byte]] = static_cast<int16_t>(byte);
    }
  }
};

const Table kTable;

}  // namespace

std::u32string to_byte_characters(std::u32string_view text) {
  std::u32string out;
  for (const char byte : encode_utf8(text)) out += kTable.characters[static_cast<unsigned char>(byte)];
  return out;
}

void append_bytes(std::string& bytes, const std::string& token) {
  std::string found;
  for (const char32_t code : decode_utf8_lossy(token)) {
    if (code >= kCharacters || kTable.bytes[code] < 0) {
      bytes += token;
      return;
    }
    found += static_cast<char>(kTable.bytes[code]);
  }
  bytes += found;
}

Regex byte_level_regex() {
  return Regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
               "ByteLevel");
}

}  // namespace c4n
