// JSON of files that may be damaged or hostile, looked into with errors of one line that name the
// place. TVM's parser reads it; the rest of this program need not know that.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "file.hpp"

namespace c4n {
namespace json {

struct Value;
using Array = std::vector<Value>;

struct Object {
  std::vector<std::pair<std::string, Value>> members;  // sorted by key
  // Whether there is such a key, though its value may be null.
  bool has(const std::string& key) const;
  // Null where the key is missing.
  const Value& operator[](const std::string& key) const;
};

struct Value {
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> content;
  bool is_null() const { return content.index() == 0; }
  // Null for another kind; nothing is converted: true is no number.
  template <typename T>
  const T* as() const { return std::get_if<T>(&content); }
};

}  // namespace json

// Parses a text that came from `file`. Throws Error for one that is no JSON, or nested so deeply that
// a parser that recurses would run out of stack.
json::Value parse_json(const std::string& text, const std::string& file);
// The object in a file of at most `limit` bytes.
json::Object read_object(const std::string& file, int64_t limit);

// A JSON value as a T; `where` names it in the error.
template <typename T>
const T& as(const json::Value& value, const std::string& where) {
  if (const T* found = value.as<T>()) return *found;
  throw Error(where + " is of another kind than expected" + kRemedy);
}

template <typename T>
const T& member(const json::Object& object, const char* key, const std::string& where) {
  const json::Value& value = object[key];
  if (value.is_null()) throw Error(where + ": " + key + " is missing" + kRemedy);
  return as<T>(value, where + ": " + key);
}

// The value of a key that may be missing.
template <typename T>
T member_or(const json::Object& object, const char* key, T otherwise, const std::string& where) {
  const json::Value& value = object[key];
  return value.is_null() ? otherwise : as<T>(value, where + ": " + key);
}

}  // namespace c4n
