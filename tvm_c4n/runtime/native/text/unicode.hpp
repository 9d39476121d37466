// Characters: UTF-8, and the properties that tokenizers ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace c4n {

constexpr char32_t kReplacement = 0xFFFD;

// Throws Error for what is not UTF-8; `what` names the text in it.
std::u32string decode_utf8(std::string_view text, const std::string& what);
// As the above, but with U+FFFD for each part that is not UTF-8, as long as Unicode recommends.
std::u32string decode_utf8_lossy(std::string_view bytes);
bool is_utf8(std::string_view bytes);
std::string encode_utf8(std::u32string_view text);
void append_utf8(std::string& text, char32_t code);

// Categories as a set of bits; `category_bits` knows "L", "Lu" and the like, 0 is no category.
uint32_t category_bits(std::string_view name);
uint32_t category_bit_of(char32_t code);
bool is_space(char32_t code);        // \s
bool is_numeric(char32_t code);      // what Digits splits at
bool is_punctuation(char32_t code);  // what Punctuation splits at

// Unicode's normal forms; NFC is composed.
std::u32string to_nfd(std::u32string_view text);
std::u32string to_nfc(std::u32string_view text);

}  // namespace c4n
