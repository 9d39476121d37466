#include "../file.hpp"
#include "unicode.hpp"

namespace c4n {
namespace {

// Reads a character at `at` and moves it behind; where there is none, returns false and moves it
// behind the bytes that one replacement character stands for.
bool read(std::string_view bytes, size_t& at, char32_t& code) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(at++);
  if (lead < 0x80) return code = lead, true;
  if (lead < 0xC2 || lead > 0xF4) return false;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  // The second byte has narrower bounds where it would make a long form, a surrogate, or too much.
  unsigned char low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  code = lead & (0x3F >> more);
  for (int i = 0; i < more; ++i, low = 0x80, high = 0xBF) {
    if (at >= bytes.size() || byte(at) < low || byte(at) > high) return false;
    code = code << 6 | (byte(at++) & 0x3F);
  }
  return true;
}

}  // namespace

std::u32string decode_utf8(std::string_view text, const std::string& what) {
  std::u32string codes;
  codes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    char32_t code;
    if (!read(text, at, code)) throw Error(what + " is not UTF-8 at byte " + std::to_string(start));
    codes += code;
  }
  return codes;
}

std::u32string decode_utf8_lossy(std::string_view bytes) {
  std::u32string codes;
  for (size_t at = 0; at < bytes.size();) {
    char32_t code;
    codes += read(bytes, at, code) ? code : kReplacement;
  }
  return codes;
}

bool is_utf8(std::string_view bytes) {
  char32_t code;
  for (size_t at = 0; at < bytes.size();)
    if (!read(bytes, at, code)) return false;
  return true;
}

void append_utf8(std::string& text, char32_t code) {
  const auto add = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) return add(code);
  if (code < 0x800) {
    add(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    add(0xE0 | code >> 12);
    add(0x80 | (code >> 6 & 0x3F));
  } else {
    add(0xF0 | code >> 18);
    add(0x80 | (code >> 12 & 0x3F));
    add(0x80 | (code >> 6 & 0x3F));
  }
  add(0x80 | (code & 0x3F));
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t code : text) append_utf8(bytes, code);
  return bytes;
}

}  // namespace c4n
