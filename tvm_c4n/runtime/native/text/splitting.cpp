#include "splitting.hpp"

#include <algorithm>

#include "../file.hpp"

namespace c4n {
namespace {

struct Part {
  size_t from, to;
  bool match;
};

std::vector<Part> merged(const std::vector<Part>& parts, Behavior behavior) {
  std::vector<Part> found;
  bool before = false;  // whether the part before was a match
  for (const Part& part : parts) {
    const bool joins =
        behavior == Behavior::kContiguous ? part.match == before : part.match && !before;
    if (joins && !found.empty()) {
      found.back().from = std::min(found.back().from, part.from);
      found.back().to = std::max(found.back().to, part.to);
    } else {
      found.push_back(part);
    }
    before = part.match;
  }
  return found;
}

}  // namespace

Behavior behavior_of(const std::string& name, const std::string& where) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  throw Error(where + ": behavior '" + name + kOnTheHost);
}

Pieces split_at(const Piece& piece, const std::vector<std::pair<size_t, size_t>>& matches,
                Behavior behavior, bool invert) {
  std::vector<Part> parts;
  size_t end = 0;
  for (const auto& [from, to] : matches) {
    if (from > end) parts.push_back({end, from, invert});
    parts.push_back({from, to, !invert});
    end = to;
  }
  if (end < piece.text.size()) parts.push_back({end, piece.text.size(), invert});
  if (behavior == Behavior::kMergedWithNext) {
    std::reverse(parts.begin(), parts.end());
    parts = merged(parts, behavior);
    std::reverse(parts.begin(), parts.end());
  } else if (behavior == Behavior::kMergedWithPrevious || behavior == Behavior::kContiguous) {
    parts = merged(parts, behavior);
  }
  Pieces found;
  for (const Part& part : parts)
    if (!part.match || behavior != Behavior::kRemoved)
      found.push_back({piece.text.substr(part.from, part.to - part.from),
                       piece.starts && part.from == 0, -1});
  return found;
}

}  // namespace c4n
