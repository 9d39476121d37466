// Bytes as characters that can be printed, as byte-level vocabularies have them (GPT-2's table).
#pragma once

#include <string>
#include <string_view>

#include "regex.hpp"

namespace c4n {

// Each byte of a text's UTF-8 as its character.
std::u32string to_byte_characters(std::u32string_view text);
// Adds the bytes of such characters; where one is none, adds the token as it is.
void append_bytes(std::string& bytes, const std::string& token);
// How GPT-2 split texts.
Regex byte_level_regex();

}  // namespace c4n
