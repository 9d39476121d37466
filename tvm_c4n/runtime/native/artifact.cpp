#include "artifact.hpp"

#include <unistd.h>

#include "cpu.hpp"
#include "json.hpp"

namespace c4n {
namespace {

namespace ffi = tvm::ffi;

constexpr int64_t kFormat = 1;
constexpr int64_t kAlignBytes = 64;
constexpr int64_t kMaxChunk = 256;  // the memory of prefill is planned for as many tokens
constexpr int64_t kMaxManifestBytes = 1 << 22;
constexpr int64_t kMaxLibraryBytes = 1 << 26;
// A layer's scan state has as many numbers as its A, of 2 or 4 bytes where the state has 4, and its
// convolution's state has fewer than its weights.
constexpr int64_t kStateBytesPerWeightByte = 2;
// The ring of attention has 4 bytes a token where its rows have d_model weights, and a model has
// other matrices too.
constexpr int64_t kRingTokensPerWeightByte = 128;
constexpr int64_t kMaxContext = 1 << 24;

void check_machine(const json::Object& manifest, const std::string& file) {
  const std::string triple = member<std::string>(manifest, "triple", file);
  if (triple.substr(0, triple.find('-')) != machine())
    throw Error(file + ": compiled for " + triple + ", this is " + machine());
  std::vector<std::string> features;
  for (const auto& name : member<json::Array>(manifest, "features", file))
    features.push_back(as<std::string>(name, file + ": a feature"));
  std::string names;
  for (const auto& name : lacking(features)) names += " " + name;
  if (!names.empty()) throw Error(file + ": needs CPU features that are not here:" + names);
}

std::vector<int64_t> read_shape(const json::Array& values, const std::string& where) {
  std::vector<int64_t> shape;
  for (const auto& value : values) {
    const auto extent = value.as<int64_t>();
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
  const json::Value& text = manifest["text"];
  const json::Value& value =
      text.is_null() ? member<json::Object>(manifest, "config", file)["eos_token_id"]
                     : as<json::Object>(text, file + ": text")["ends"];
  if (value.is_null()) return {0};
  if (const auto* one = value.as<int64_t>()) return {*one};
  std::vector<int64_t> ends;
  for (const auto& token : as<json::Array>(value, file + ": the tokens that end a text"))
    ends.push_back(as<int64_t>(token, file + ": a token that ends a text"));
  return ends;
}

// The token that starts a text; where no file names it, the one that ends texts.
int64_t read_start(const json::Object& manifest, const std::vector<int64_t>& ends,
                   const std::string& file) {
  const json::Value& text = manifest["text"];
  if (text.is_null()) return ends.empty() ? 0 : ends[0];
  return member<int64_t>(as<json::Object>(text, file + ": text"), "start", file);
}

// Gives a tensor memory that the mapping owns.
struct Mapped {
  char* at;
  void AllocData(DLTensor* tensor) { tensor->data = at; }
  void FreeData(DLTensor*) {}
};

struct Spec {
  std::vector<int64_t> shape;
  DLDataType dtype;
  int64_t offset;
};

// Bytes of a tensor; throws where they are more than there can be.
int64_t bytes_of(const std::vector<int64_t>& shape, int64_t item, const std::string& where) {
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(item, extent, &item) || item > INT64_MAX / 4)
      throw Error(where + ": too large" + kRemedy);
  return item;
}

// Tensors fill weights.bin from its start to its end, each at the next multiple of kAlignBytes.
std::vector<ffi::Tensor> read_weights(const json::Object& manifest, const std::string& folder) {
  const std::string file = folder + "/manifest.json";
  std::vector<Spec> specs;
  int64_t end = 0, total = 0;
  for (const auto& value : member<json::Array>(manifest, "tensors", file)) {
    const std::string where = file + ": tensor " + std::to_string(specs.size());
    const auto tensor = as<json::Object>(value, where);
    Spec spec{read_shape(member<json::Array>(tensor, "shape", where), where),
              dtype_of(member<std::string>(tensor, "dtype", where), where),
              member<int64_t>(tensor, "offset", where)};
    const int64_t expected = (end + kAlignBytes - 1) / kAlignBytes * kAlignBytes;
    if (spec.offset != expected)
      throw Error(where + " lies at byte " + std::to_string(spec.offset) + " and should at " +
                  std::to_string(expected) + kRemedy);
    const int64_t size = bytes_of(spec.shape, spec.dtype.bits / 8, where);
    if (__builtin_add_overflow(spec.offset, size, &end) || end > INT64_MAX / 4)
      throw Error(where + ": too large" + kRemedy);
    total += size;
    specs.push_back(spec);
  }
  if (member<int64_t>(manifest, "weight_bytes", file) != total)
    throw Error(file + ": weight_bytes is not what the tensors have" + kRemedy);
  const std::string weights = folder + "/weights.bin";
  if (const int64_t size = size_of(weights); size != end)
    throw Error(weights + " has " + std::to_string(size) + " bytes, its tensors have " +
                std::to_string(end) + kRemedy);
  const Mapping block = map_file(weights, end);
  std::vector<ffi::Tensor> tensors;
  for (const auto& spec : specs)
    tensors.push_back(ffi::Tensor::FromNDAlloc(
        Mapped{block.data + spec.offset}, ffi::Shape(spec.shape), spec.dtype, DLDevice{kDLCPU, 0}));
  return tensors;
}

// Tokens of the longest text; artifacts without attention have no limit, older ones no field.
int64_t read_context(const json::Object& manifest, const std::string& file) {
  const json::Value& found = manifest["context"];
  if (found.is_null()) return 0;
  const auto context = as<int64_t>(found, file + ": context");
  if (context < 1 || context > kMaxContext) throw Error(file + ": context is out of range" + kRemedy);
  return context;
}

// Dtypes of so many states; artifacts whose states are all float32 need not name them.
std::vector<std::string> read_state_dtypes(const json::Object& manifest, size_t states,
                                           const std::string& file) {
  std::vector<std::string> dtypes;
  if (manifest.has("state_dtypes"))
    for (const auto& value : as<json::Array>(manifest["state_dtypes"], file + ": state_dtypes")) {
      dtypes.push_back(as<std::string>(value, file + ": state_dtypes"));
      if (dtypes.back() != "float32" && dtypes.back() != "int32" && dtypes.back() != "uint16")
        throw Error(file + ": state_dtypes: unknown dtype" + kRemedy);
    }
  if (dtypes.empty()) dtypes.resize(states, "float32");
  if (dtypes.size() != states)
    throw Error(file + ": state_dtypes are " + std::to_string(dtypes.size()) + ", states " +
                std::to_string(states) + kRemedy);
  return dtypes;
}

// Names of so many states.
std::vector<std::string> read_state_names(const json::Object& manifest, size_t states,
                                          const std::string& file) {
  std::vector<std::string> names;
  if (manifest.has("state_names"))
    for (const auto& value : as<json::Array>(manifest["state_names"], file + ": state_names"))
      names.push_back(as<std::string>(value, file + ": state_names"));
  if (names.empty()) names.resize(states);
  if (names.size() != states)
    throw Error(file + ": state_names are " + std::to_string(names.size()) + ", states " +
                std::to_string(states) + kRemedy);
  return names;
}

// A longer text than the rings of attention hold would lose its beginning without a word.
void check_context(int64_t context, const std::vector<State>& states, const std::string& file) {
  int64_t tokens = 0;
  for (const auto& state : states)
    if (state.shape.size() == kRingAxes) tokens = state.shape[2] * kRingBlock;
  if (context != tokens)
    throw Error(file + ": context is " + std::to_string(context) + ", the states have room for " +
                std::to_string(tokens) + kRemedy);
}

std::vector<State> read_states(const json::Object& manifest, const std::string& folder,
                               int64_t context) {
  const std::string file = folder + "/manifest.json";
  const auto values = member<json::Array>(manifest, "states", file);
  const auto dtypes = read_state_dtypes(manifest, values.size(), file);
  const auto names = read_state_names(manifest, values.size(), file);
  std::vector<State> states;
  int64_t total = 0;
  for (size_t i = 0; i < dtypes.size(); ++i) {
    const std::string where = file + ": state " + std::to_string(i);
    const auto shape = read_shape(as<json::Array>(values[i], where), where);
    if (__builtin_add_overflow(total, bytes_of(shape, sizeof(float), where), &total))
      throw Error(where + ": too large" + kRemedy);
    states.push_back({names[i], ffi::Shape(shape), ffi::StringToDLDataType(dtypes[i])});
  }
  check_context(context, states, file);
  const int64_t weights = size_of(folder + "/weights.bin");
  const double allowed = kStateBytesPerWeightByte + static_cast<double>(context) / kRingTokensPerWeightByte;
  if (static_cast<double>(total) > allowed * static_cast<double>(weights))
    throw Error(file + ": states of " + std::to_string(total) + " bytes do not belong to " +
                std::to_string(weights) + " bytes of weights" + kRemedy);
  return states;
}

std::string check_library(const json::Object& manifest, const std::string& folder) {
  const std::string digest = member<std::string>(manifest, "library_sha256", folder + "/manifest.json");
  if (digest.find_first_not_of("0123456789abcdef") != std::string::npos || digest.size() != 64)
    throw Error(folder + "/manifest.json: library_sha256 is no digest" + kRemedy);
  const std::string library = folder + "/model-" + digest.substr(0, 12) + ".so";
  if (sha256_of(library, kMaxLibraryBytes) != digest)
    throw Error(library + " is not the file that was compiled" + kRemedy);
  return library;
}

}  // namespace

Artifact open_artifact(const std::string& folder) {
  if (access(folder.c_str(), F_OK)) throw Error(folder + ": no such folder; give a compiled model");
  const std::string file = folder + "/manifest.json";
  const auto manifest = read_object(file, kMaxManifestBytes);
  const auto format = member<int64_t>(manifest, "format", file);
  if (format != kFormat)
    throw Error(file + " has format " + std::to_string(format) + ", this program reads 1");
  check_machine(manifest, file);
  Artifact artifact;
  artifact.folder = folder;
  artifact.fingerprint = member_or<std::string>(manifest, "fingerprint", "", file);
  artifact.vocab = member<int64_t>(member<json::Object>(manifest, "config", file), "vocab_size", file);
  artifact.ends = read_ends(manifest, file);
  artifact.start = read_start(manifest, artifact.ends, file);
  artifact.chunk = member<int64_t>(manifest, "chunk", file);
  if (artifact.vocab < 1 || artifact.vocab > INT32_MAX)
    throw Error(file + ": vocab_size is out of range" + kRemedy);
  if (artifact.chunk < 1 || artifact.chunk > kMaxChunk)
    throw Error(file + ": chunk is not in 1 to " + std::to_string(kMaxChunk) + kRemedy);
  artifact.context = read_context(manifest, file);
  artifact.states = read_states(manifest, folder, artifact.context);
  artifact.library = check_library(manifest, folder);
  artifact.weights = read_weights(manifest, folder);
  return artifact;
}

}  // namespace c4n
