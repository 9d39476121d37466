#include "json.hpp"

#include <tvm/ffi/extra/json.h>

#include <algorithm>

namespace c4n {
namespace {

namespace ffi = tvm::ffi;

constexpr int kMaxDepth = 32;  // a manifest has 4, a tokenizer 7

void check_depth(const std::string& text, const std::string& file) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') ++i;
    else if (c == '"') quoted = !quoted;
    else if (!quoted && (c == '[' || c == '{') && ++depth > kMaxDepth)
      throw Error(file + ": JSON is nested too deeply" + kRemedy);
    else if (!quoted && (c == ']' || c == '}')) --depth;
  }
}

json::Value converted(const ffi::Any& value) {
  if (auto found = value.as<bool>()) return {*found};
  if (auto found = value.as<int64_t>()) return {*found};
  if (auto found = value.as<double>()) return {*found};
  if (auto found = value.as<ffi::String>()) return {std::string(*found)};
  if (auto found = value.as<ffi::json::Array>()) {
    json::Array array;
    array.reserve(found->size());
    for (const auto& item : *found) array.push_back(converted(item));
    return {std::move(array)};
  }
  if (auto found = value.as<ffi::json::Object>()) {
    json::Object object;
    object.members.reserve(found->size());
    for (const auto& [key, item] : *found)
      object.members.emplace_back(key.cast<ffi::String>(), converted(item));
    std::sort(object.members.begin(), object.members.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    return {std::move(object)};
  }
  return {};
}

}  // namespace

bool json::Object::has(const std::string& key) const {
  const auto found = std::lower_bound(members.begin(), members.end(), key,
                                      [](const auto& m, const auto& k) { return m.first < k; });
  return found != members.end() && found->first == key;
}

const json::Value& json::Object::operator[](const std::string& key) const {
  static const Value kNull;
  const auto found = std::lower_bound(members.begin(), members.end(), key,
                                      [](const auto& m, const auto& k) { return m.first < k; });
  return found != members.end() && found->first == key ? found->second : kNull;
}

json::Value parse_json(const std::string& text, const std::string& file) {
  check_depth(text, file);
  ffi::String error;
  const ffi::Any value = ffi::json::Parse(text, &error);
  if (!error.empty()) throw Error(file + " is not JSON" + kRemedy);
  return converted(value);
}

json::Object read_object(const std::string& file, int64_t limit) {
  return as<json::Object>(parse_json(read_file(file, limit), file), file);
}

}  // namespace c4n
