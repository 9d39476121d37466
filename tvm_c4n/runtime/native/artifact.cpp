#include "artifact.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/extra/json.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "cpu.hpp"

namespace c4n {
namespace {

namespace ffi = tvm::ffi;
namespace json = tvm::ffi::json;

constexpr int64_t kFormat = 1;
constexpr int64_t kAlignBytes = 64;
const char* const kRemedy = ": compile the model again";

// A JSON value as a T; `where` names it in the error.
template <typename T>
T as(const json::Value& value, const std::string& where) {
  if (auto found = value.try_cast<T>()) return *found;
  throw Error(where + " is of another kind than expected" + kRemedy);
}

template <typename T>
T member(const json::Object& object, const char* key, const std::string& where) {
  if (auto found = object.Get(ffi::String(key))) return as<T>(*found, where + ": " + key);
  throw Error(where + ": " + key + " is missing" + kRemedy);
}

json::Object read_manifest(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error(file + " is missing: give the folder that 'tvm-c4n compile' wrote");
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  ffi::String error;
  json::Value value = json::Parse(text, &error);
  if (!error.empty()) throw Error(file + " is not JSON" + kRemedy);
  return as<json::Object>(value, file);
}

void check_machine(const json::Object& manifest, const std::string& file) {
  const std::string triple = member<ffi::String>(manifest, "triple", file);
  if (triple.substr(0, triple.find('-')) != machine())
    throw Error(file + ": compiled for " + triple + ", this is " + machine());
  std::vector<std::string> features;
  for (const auto& name : member<json::Array>(manifest, "features", file))
    features.push_back(as<ffi::String>(name, file + ": a feature"));
  std::string names;
  for (const auto& name : lacking(features)) names += " " + name;
  if (!names.empty()) throw Error(file + ": needs CPU features that are not here:" + names);
}

std::vector<int64_t> read_shape(const json::Array& values, const std::string& where) {
  std::vector<int64_t> shape;
  for (const auto& value : values) {
    const auto extent = value.try_cast<int64_t>();
    if (!extent || *extent < 0 || *extent > INT32_MAX) throw Error(where + ": bad shape" + kRemedy);
    shape.push_back(*extent);
  }
  return shape;
}

DLDataType dtype_of(const std::string& name, const std::string& where) {
  for (const char* known : {"float32", "float16", "int8", "uint8", "uint16", "uint32"})
    if (name == known) return ffi::StringToDLDataType(name);
  throw Error(where + ": unknown dtype" + kRemedy);
}

// The tokens that end a text. Artifacts of before the manifest had "text" name them in the model's
// config.json, a number or a list, or not at all: then it is 0, transformers' default for Mamba.
std::vector<int64_t> read_ends(const json::Object& manifest, const std::string& file) {
  json::Value value;
  if (auto text = manifest.Get(ffi::String("text")); text && *text != nullptr) {
    value = member<json::Array>(as<json::Object>(*text, file + ": text"), "ends", file);
  } else {
    const auto config = member<json::Object>(manifest, "config", file);
    if (auto found = config.Get(ffi::String("eos_token_id"))) value = *found;
  }
  if (value == nullptr) return {0};
  if (auto one = value.try_cast<int64_t>()) return {*one};
  std::vector<int64_t> ends;
  for (const auto& token : as<json::Array>(value, file + ": the tokens that end a text"))
    ends.push_back(as<int64_t>(token, file + ": a token that ends a text"));
  return ends;
}

// A file mapped read-only until the program ends.
struct Mapping {
  char* data;
  int64_t size;
};

Mapping map_file(const std::string& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) || status.st_size == 0)
    throw Error(file + " is missing or empty" + kRemedy);
  void* data = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  if (data == MAP_FAILED) throw Error(file + ": cannot be mapped into memory");
  return {static_cast<char*>(data), status.st_size};
}

// Gives a tensor memory that the mapping owns.
struct Mapped {
  char* at;
  void AllocData(DLTensor* tensor) { tensor->data = at; }
  void FreeData(DLTensor*) {}
};

std::vector<ffi::Tensor> read_weights(const json::Object& manifest, const std::string& file,
                                      const Mapping& block) {
  std::vector<ffi::Tensor> weights;
  for (const auto& value : member<json::Array>(manifest, "tensors", file)) {
    const std::string where = file + ": tensor " + std::to_string(weights.size());
    const auto tensor = as<json::Object>(value, where);
    const auto shape = read_shape(member<json::Array>(tensor, "shape", where), where);
    const auto offset = member<int64_t>(tensor, "offset", where);
    const auto dtype = dtype_of(member<ffi::String>(tensor, "dtype", where), where);
    int64_t size = dtype.bits / 8;
    for (const int64_t extent : shape)
      if (__builtin_mul_overflow(size, extent, &size)) throw Error(where + ": too large" + kRemedy);
    if (offset < 0 || offset % kAlignBytes || offset > block.size || size > block.size - offset)
      throw Error(where + " lies outside the weights" + kRemedy);
    weights.push_back(ffi::Tensor::FromNDAlloc(Mapped{block.data + offset}, ffi::Shape(shape),
                                               dtype, DLDevice{kDLCPU, 0}));
  }
  return weights;
}

}  // namespace

Artifact open_artifact(const std::string& folder) {
  const std::string file = folder + "/manifest.json";
  const auto manifest = read_manifest(file);
  const auto format = member<int64_t>(manifest, "format", file);
  if (format != kFormat)
    throw Error(file + " has format " + std::to_string(format) + ", this program reads 1");
  check_machine(manifest, file);
  Artifact artifact;
  const std::string digest = member<ffi::String>(manifest, "library_sha256", file);
  if (digest.find_first_not_of("0123456789abcdef") != std::string::npos || digest.size() != 64)
    throw Error(file + ": library_sha256 is no digest" + kRemedy);
  artifact.library = folder + "/model-" + digest.substr(0, 12) + ".so";
  artifact.vocab = member<int64_t>(member<json::Object>(manifest, "config", file), "vocab_size", file);
  artifact.ends = read_ends(manifest, file);
  artifact.chunk = member<int64_t>(manifest, "chunk", file);
  if (artifact.vocab < 1 || artifact.chunk < 1) throw Error(file + ": bad sizes" + kRemedy);
  for (const auto& shape : member<json::Array>(manifest, "states", file))
    artifact.states.emplace_back(read_shape(as<json::Array>(shape, file), file));
  artifact.weights = read_weights(manifest, file, map_file(folder + "/weights.bin"));
  return artifact;
}

}  // namespace c4n
