// What happens to a text before it is split: the normalizer of a tokenizer.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../json.hpp"

namespace c4n {

class Normalizer {
 public:
  // Null stands for none. Throws Error for a kind that is not supported.
  Normalizer(const json::Value& value, const std::string& where);
  std::u32string operator()(std::u32string text) const;

 private:
  void add(const json::Value& value, const std::string& where);
  std::vector<std::function<std::u32string(const std::u32string&)>> steps_;
};

}  // namespace c4n
