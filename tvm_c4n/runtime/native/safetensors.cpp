#include "safetensors.hpp"

#include <algorithm>
#include <cstring>

#include "json.hpp"
#include "sha256.hpp"
#include "text/unicode.hpp"

namespace c4n {

const char* const kSaveAgain = ": save it again";

namespace {

constexpr int64_t kMaxHeaderBytes = 1 << 22, kMaxFileBytes = int64_t{1} << 36;
constexpr const char* kDigest = "sha256";

int64_t bytes_per_item(const std::string& dtype) { return dtype == "F16" ? 2 : 4; }

// A string as Python's json.dumps writes it.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  char code[16];
  const auto escape = [&](unsigned unit) {
    std::snprintf(code, sizeof code, "\\u%04x", unit);
    out += code;
  };
  for (const char32_t c : decode_utf8_lossy(text)) {
    if (c == '"' || c == '\\') out += {'\\', static_cast<char>(c)};
    else if (c == '\n') out += "\\n";
    else if (c == '\r') out += "\\r";
    else if (c == '\t') out += "\\t";
    else if (c == '\b') out += "\\b";
    else if (c == '\f') out += "\\f";
    else if (c >= 0x20 && c < 0x7F) out += static_cast<char>(c);
    else if (c < 0x10000) escape(c);
    else escape(0xD800 + ((c - 0x10000) >> 10)), escape(0xDC00 + ((c - 0x10000) & 0x3FF));
  }
  return out + "\"";
}

template <typename Items, typename Write>
std::string joined(const Items& items, const char* comma, Write write) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : comma) + write(item);
  return out;
}

std::string shape_text(const std::vector<int64_t>& shape, const char* comma) {
  return "[" + joined(shape, comma, [](int64_t n) { return std::to_string(n); }) + "]";
}

// Wider dtypes first, then by name.
std::vector<std::string> storage_order(const StoredTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return bytes_per_item(tensors.at(a).dtype) > bytes_per_item(tensors.at(b).dtype);
  });
  return names;
}

std::string digest_of(const StoredTensors& tensors, const Notes& notes) {
  const std::string about = joined(tensors, ", ", [](const auto& item) {
    return quoted(item.first) + ": [" + quoted(item.second.dtype) + ", " +
           shape_text(item.second.shape, ", ") + "]";
  });
  const std::string said = joined(
      notes, ", ", [](const auto& note) { return quoted(note.first) + ": " + quoted(note.second); });
  const std::string text = "[{" + about + "}, {" + said + "}]";
  Sha256 sum;
  sum.add(text.data(), text.size());
  for (const auto& name : storage_order(tensors))
    sum.add(tensors.at(name).bytes.data(), tensors.at(name).bytes.size());
  return sum.hex();
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw Error(path + ": " + what + kSaveAgain);
}

// The bytes [begin, end) of a tensor's data, checked against its dtype and shape.
int64_t read_entry(const std::string& path, const std::string& name, const json::Object& entry,
                   StoredTensor& tensor, int64_t& end) {
  const std::string where = path + ": " + name;
  tensor.dtype = member<std::string>(entry, "dtype", where);
  if (tensor.dtype != "F32" && tensor.dtype != "F16" && tensor.dtype != "I32")
    damaged(path, name + " has an unknown dtype");
  int64_t size = bytes_per_item(tensor.dtype);
  for (const auto& value : member<json::Array>(entry, "shape", where)) {
    tensor.shape.push_back(as<int64_t>(value, where));
    if (tensor.shape.back() < 0 || __builtin_mul_overflow(size, tensor.shape.back(), &size) ||
        size > kMaxFileBytes)
      damaged(path, name + " has a bad shape");
  }
  const auto& offsets = member<json::Array>(entry, "data_offsets", where);
  if (offsets.size() != 2) damaged(path, name + " has bad data_offsets");
  const auto begin = as<int64_t>(offsets[0], where);
  end = as<int64_t>(offsets[1], where);
  if (begin < 0 || begin > kMaxFileBytes || end != begin + size)
    damaged(path, name + " has bad data_offsets");
  return begin;
}

// Reads what a header lists; returns how many bytes the tensors have.
int64_t read_entries(const std::string& path, const json::Object& listed, int64_t start,
                     SafetensorsHeader& header) {
  int64_t covered = 0;
  for (const auto& [name, value] : listed.members) {
    const auto& entry = as<json::Object>(value, path + ": " + name);
    if (name == "__metadata__") {
      for (const auto& [note, said] : entry.members) header.notes[note] = as<std::string>(said, path);
      continue;
    }
    int64_t end;
    const int64_t begin = read_entry(path, name, entry, header.tensors[name], end);
    header.begins[name] = start + begin;
    header.end = std::max(header.end, start + end);
    covered += end - begin;
  }
  return covered;
}

}  // namespace

void write_safetensors(const std::string& path, const StoredTensors& tensors, const Notes& notes) {
  int64_t end = 0;
  std::string header = "{\"__metadata__\":{" + joined(notes, ",", [](const auto& note) {
    return quoted(note.first) + ":" + quoted(note.second);
  });
  header += std::string(",\"") + kDigest + "\":" + quoted(digest_of(tensors, notes)) + "}";
  const auto order = storage_order(tensors);
  for (const auto& name : order) {
    const StoredTensor& tensor = tensors.at(name);
    const int64_t begin = end;
    end += static_cast<int64_t>(tensor.bytes.size());
    header += "," + quoted(name) + ":{\"dtype\":" + quoted(tensor.dtype) + ",\"shape\":" +
              shape_text(tensor.shape, ",") + ",\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(end) + "]}";
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  std::vector<std::string_view> parts{{reinterpret_cast<const char*>(&length), sizeof length}, header};
  for (const auto& name : order) parts.push_back(tensors.at(name).bytes);
  write_file(path, parts);
}

SafetensorsHeader read_header(const std::string& path) {
  const FileReader file(path, kSaveAgain);
  uint64_t length = 0;
  if (file.size() < 8) damaged(path, "truncated, it holds no safetensors header");
  file.read(0, reinterpret_cast<char*>(&length), sizeof length);
  if (length > static_cast<uint64_t>(kMaxHeaderBytes) ||
      static_cast<int64_t>(length) > file.size() - 8)
    damaged(path, "no safetensors file, or truncated");
  std::string text(length, 0);
  file.read(8, text.data(), length);
  SafetensorsHeader header;
  const auto start = static_cast<int64_t>(8 + length);
  int64_t covered = 0;
  try {
    covered = read_entries(path, as<json::Object>(parse_json(text, path), path), start, header);
  } catch (const Error&) {  // whatever is wrong in it
    damaged(path, "no safetensors file, or damaged");
  }
  if (header.tensors.empty()) header.end = start;
  if (header.end != file.size() || start + covered != file.size())
    damaged(path, "its tensors do not fill it");
  header.digest = header.notes[kDigest];
  header.notes.erase(kDigest);
  return header;
}

void read_tensors(const std::string& path, SafetensorsHeader& header) {
  const FileReader file(path, kSaveAgain);
  if (file.size() != header.end) damaged(path, "changed while it was read");
  for (auto& [name, tensor] : header.tensors) {
    int64_t size = bytes_per_item(tensor.dtype);
    for (const int64_t extent : tensor.shape) size *= extent;
    tensor.bytes.resize(static_cast<size_t>(size));
    file.read(header.begins[name], tensor.bytes.data(), tensor.bytes.size());
  }
  if (digest_of(header.tensors, header.notes) != header.digest)
    damaged(path, "damaged: not what was written there");
}

}  // namespace c4n
