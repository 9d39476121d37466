// A part of a text on its way to tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace c4n {

struct Piece {
  std::u32string text;
  bool starts = false;  // whether the whole text begins here
  int32_t token = -1;   // of a piece that is a token already; -1: it is yet to be tokenised
};

using Pieces = std::vector<Piece>;

// How errors end about what a tokenizer.json asks for and this program does not know.
extern const char* const kOnTheHost;

}  // namespace c4n
