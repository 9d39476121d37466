// Where a text stops: before the first of some strings, which may begin in any token.
#pragma once

#include <string>
#include <vector>

namespace c4n {

class StopStrings {
 public:
  // Throws Error for a string that is empty.
  explicit StopStrings(std::vector<std::string> strings);
  // Adds a piece; returns what is surely in front of every stop string.
  std::string put(const std::string& piece);
  // Returns what still waits: the text is over, so it was no stop string.
  std::string end();
  bool found() const { return found_; }

 private:
  std::vector<std::string> strings_;
  std::string waiting_;
  bool found_ = false;
};

}  // namespace c4n
