// Cutting a text at matches, in the five ways that tokenizer.json names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "piece.hpp"

namespace c4n {

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Throws Error for a name that is none.
Behavior behavior_of(const std::string& name, const std::string& where);

// The parts of a piece, none of them empty. Matches are in order and do not overlap; with `invert`
// what lies between them is what matches.
Pieces split_at(const Piece& piece, const std::vector<std::pair<size_t, size_t>>& matches,
                Behavior behavior, bool invert);

}  // namespace c4n
