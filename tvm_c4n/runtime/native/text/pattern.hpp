// What a tokenizer.json looks for in texts: a string or a regular expression.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../json.hpp"
#include "regex.hpp"

namespace c4n {

class Pattern {
 public:
  // {"String": ..} or {"Regex": ..}
  Pattern(const json::Object& object, const std::string& where);
  explicit Pattern(Regex regex) : regex_(std::move(regex)) {}

  std::vector<std::pair<size_t, size_t>> find_all(std::u32string_view text) const;
  std::u32string replaced(std::u32string_view text, std::u32string_view by) const;

 private:
  std::optional<Regex> regex_;
  std::u32string string_;
};

}  // namespace c4n
