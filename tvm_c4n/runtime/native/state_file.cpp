#include "state_file.hpp"

#include <cmath>
#include <cstring>

#include "safetensors.hpp"

namespace c4n {
namespace {

namespace ffi = tvm::ffi;

constexpr const char *kKind = "c4n-state", *kStateFormat = "1";
// The state that counts tokens is not stored: their number is.
constexpr const char* kPosition = "position";

bool is_ring(const State& state) { return state.shape.size() == kRingAxes; }

// As files have dtypes: float16 as such, which models hold as bits.
std::string stored_dtype(const State& state) {
  return state.dtype.bits == 16 ? "F16" : state.dtype.code == kDLFloat ? "F32" : "I32";
}

std::vector<int64_t> stored_shape(const State& state, int64_t read) {
  std::vector<int64_t> shape(state.shape.begin(), state.shape.end());
  if (is_ring(state)) shape[kBlocksAxis] = (read + kRingBlock - 1) / kRingBlock;
  return shape;
}

std::string name_of(size_t index, const State& state) {
  return "state." + std::to_string(index) + "." + state.name;
}

std::string bytes_of(const void* data, size_t size) {
  return {static_cast<const char*>(data), size};
}

// A ring is some runs of blocks, one for each layer and head, of which the first ones hold the text.
struct Ring {
  int64_t runs, run_bytes, kept_bytes;
  explicit Ring(const State& state, int64_t read) {
    const auto& shape = state.shape;
    const int64_t block = shape[3] * shape[4] * state.dtype.bits / 8;
    runs = shape[0] * shape[1];
    run_bytes = shape[kBlocksAxis] * block;
    kept_bytes = (read + kRingBlock - 1) / kRingBlock * block;
  }
};

// What an earlier text left behind the last token does not come along.
void clear_behind(const State& state, int64_t read, std::string& bytes) {
  const int64_t used = read % kRingBlock, item = state.dtype.bits / 8;
  if (used == 0) return;
  const Ring ring(state, read);
  // Tokens are the last axis of keys, and the last but one of values.
  const bool keys = state.name == "keys";
  const int64_t channels = keys ? state.shape[3] : state.shape[4];
  const int64_t block = channels * kRingBlock * item;
  for (int64_t run = 0; run < ring.runs; ++run) {
    char* last = bytes.data() + (run + 1) * ring.kept_bytes - block;
    if (!keys) std::memset(last + used * channels * item, 0, (kRingBlock - used) * channels * item);
    else
      for (int64_t channel = 0; channel < channels; ++channel)
        std::memset(last + (channel * kRingBlock + used) * item, 0, (kRingBlock - used) * item);
  }
}

std::string stored_bytes(const State& state, const ffi::Tensor& tensor, int64_t read) {
  const auto* data = static_cast<const char*>(tensor.data_ptr());
  if (!is_ring(state)) return bytes_of(data, static_cast<size_t>(tensor.numel()) * state.dtype.bits / 8);
  const Ring ring(state, read);
  std::string bytes;
  for (int64_t run = 0; run < ring.runs; ++run)
    bytes.append(data + run * ring.run_bytes, static_cast<size_t>(ring.kept_bytes));
  clear_behind(state, read, bytes);
  return bytes;
}

void restore(const State& state, const std::string& bytes, const ffi::Tensor& tensor, int64_t read) {
  auto* data = static_cast<char*>(tensor.data_ptr());
  if (!is_ring(state)) {
    std::memcpy(data, bytes.data(), bytes.size());
    return;
  }
  const Ring ring(state, read);
  for (int64_t run = 0; run < ring.runs; ++run)
    std::memcpy(data + run * ring.run_bytes, bytes.data() + run * ring.kept_bytes,
                static_cast<size_t>(ring.kept_bytes));
}

void check_named(const Artifact& artifact) {
  bool named = !artifact.fingerprint.empty();
  for (const State& state : artifact.states) named = named && !state.name.empty();
  if (!named)
    throw Error(artifact.folder + " is of before states could be saved here" + kRemedy);
}

[[noreturn]] void refuse(const std::string& path, const std::string& what, const char* remedy) {
  throw Error(path + ": " + what + remedy);
}

int64_t checked_notes(const Artifact& artifact, const std::string& path, const Notes& notes) {
  const auto said = [&](const char* key) {
    const auto found = notes.find(key);
    return found == notes.end() ? std::string() : found->second;
  };
  if (said("kind") != kKind) refuse(path, "no state of a text", "");
  if (said("format") != kStateFormat) refuse(path, "of another format", kSaveAgain);
  if (said("fingerprint") != artifact.fingerprint)
    refuse(path, "saved with another model", ": load the one that it was saved with");
  const std::string read = said("read");
  if (read.empty() || read.size() > 15 || read.find_first_not_of("0123456789") != read.npos ||
      std::stoll(read) < 1)
    refuse(path, "read is no number of tokens", kSaveAgain);
  const int64_t tokens = std::stoll(read);
  if (artifact.context && tokens > artifact.context)
    refuse(path, "has " + read + " tokens: this model reads " + std::to_string(artifact.context) +
                     " at most", kSaveAgain);
  return tokens;
}

// Compares names, shapes and dtypes with the model's, before anything is read by them.
void check_tensors(const Artifact& artifact, const std::string& path, int64_t read,
                   const StoredTensors& tensors) {
  size_t expected = 0;
  const auto check = [&](const std::string& name, const std::string& dtype,
                         const std::vector<int64_t>& shape) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) refuse(path, name + " is missing", kSaveAgain);
    if (found->second.dtype != dtype || found->second.shape != shape)
      refuse(path, name + " has another dtype or shape than the model's",
             ": compile it with the --kv-dtype and --scan-dtype of then");
    ++expected;
  };
  check("tokens", "I32", {read});
  check("logits", "F32", {artifact.vocab});
  for (size_t i = 0; i < artifact.states.size(); ++i)
    if (const State& state = artifact.states[i]; state.name != kPosition)
      check(name_of(i, state), stored_dtype(state), stored_shape(state, read));
  if (expected != tensors.size()) refuse(path, "has a tensor that is no state", kSaveAgain);
}

template <typename T>
std::vector<T> values_of(const StoredTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

void check_finite(const std::string& path, const std::string& name, const StoredTensor& tensor) {
  constexpr uint16_t kExponent = 0x7C00;  // all ones: infinite, or no number
  bool finite = true;
  if (tensor.dtype == "F32")
    for (const float value : values_of<float>(tensor)) finite = finite && std::isfinite(value);
  if (tensor.dtype == "F16")
    for (const uint16_t bits : values_of<uint16_t>(tensor))
      finite = finite && (bits & kExponent) != kExponent;
  if (!finite) refuse(path, name + " has a value that is not finite", kSaveAgain);
}

}  // namespace

void save_state(const Model& model, const std::string& path) {
  const Artifact& artifact = model.artifact();
  check_named(artifact);
  const auto& text = model.tokens();
  if (text.empty()) throw Error("there is no text yet whose state could be saved: read some first");
  const auto read = static_cast<int64_t>(text.size());
  StoredTensors tensors;
  tensors["tokens"] = {"I32", {read}, bytes_of(text.data(), text.size() * sizeof text[0])};
  tensors["logits"] = {"F32", {artifact.vocab},
                       bytes_of(model.logits(), static_cast<size_t>(artifact.vocab) * sizeof(float))};
  for (size_t i = 0; i < artifact.states.size(); ++i) {
    const State& state = artifact.states[i];
    if (state.name == kPosition) continue;
    tensors[name_of(i, state)] = {stored_dtype(state), stored_shape(state, read),
                                  stored_bytes(state, model.states()[i], read)};
  }
  const Notes notes{{"kind", kKind},
                    {"format", kStateFormat},
                    {"fingerprint", artifact.fingerprint},
                    {"read", std::to_string(read)},
                    {"messages", "[]"}};
  write_safetensors(path, tensors, notes);
}

void load_state(Model& model, const std::string& path) {
  const Artifact& artifact = model.artifact();
  check_named(artifact);
  SafetensorsHeader header = read_header(path);
  const int64_t read = checked_notes(artifact, path, header.notes);
  check_tensors(artifact, path, read, header.tensors);
  read_tensors(path, header);
  for (const auto& [name, tensor] : header.tensors) check_finite(path, name, tensor);
  const auto text = values_of<int32_t>(header.tensors["tokens"]);
  for (const int32_t token : text)
    if (token < 0 || token >= artifact.vocab)
      refuse(path, "has tokens outside the vocabulary of " + std::to_string(artifact.vocab),
             kSaveAgain);
  for (size_t i = 0; i < artifact.states.size(); ++i) {
    const State& state = artifact.states[i];
    const ffi::Tensor& tensor = model.states()[i];
    if (state.name == kPosition) *static_cast<int32_t*>(tensor.data_ptr()) = static_cast<int32_t>(read);
    else restore(state, header.tensors[name_of(i, state)].bytes, tensor, read);
  }
  model.resume(text, values_of<float>(header.tensors["logits"]));
}

}  // namespace c4n
