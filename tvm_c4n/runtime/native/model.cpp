#include "model.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "threads.hpp"

namespace c4n {
namespace {

namespace ffi = tvm::ffi;

constexpr size_t kVectorBytes = 64;  // kernels load whole vectors
constexpr int kPooledAllocator = 2;  // of TVM's virtual machine
constexpr DLDevice kCpu{kDLCPU, 0};
constexpr DLDataType kFloat32{kDLFloat, 32, 1}, kInt32{kDLInt, 32, 1};

struct Heap {
  void AllocData(DLTensor* tensor) {
    const size_t size = std::max<size_t>(ffi::GetDataSize(*tensor), 1);
    tensor->data = std::aligned_alloc(kVectorBytes, (size + kVectorBytes - 1) / kVectorBytes * kVectorBytes);
    if (!tensor->data) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

ffi::Tensor allocate(ffi::ShapeView shape, DLDataType dtype) {
  return ffi::Tensor::FromNDAlloc(Heap{}, shape, dtype, kCpu);
}

ffi::Function function_of(const ffi::Module& module, const char* name) {
  if (auto function = module->GetFunction(name)) return *function;
  throw Error(std::string("the compiled model has no function ") + name + ": compile it again");
}

// The compiled code looks for TVM's runtime among what the whole process sees, where a program that
// loaded this library by name (an app's Java, say) did not put it.
void share_runtime() {
  for (const char* name : {"libtvm_ffi.so", "libtvm_runtime.so"})
    dlopen(name, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

}  // namespace

Model::Model(const std::string& folder, int threads)
    : artifact_(open_artifact(folder)), threads_(threads) {
  try {
    load(threads);
  } catch (const ffi::Error& error) {  // whatever TVM makes of a damaged library
    throw Error(folder + " cannot be loaded: " + error.message() + kRemedy);
  }
  // TVM compared the tensors with the shapes that the kernels were compiled for; tokens are checked
  // by the vocabulary, which is compared with the logits here.
  if (logits_.ndim() != 2 || logits_.size(0) != 1 || logits_.size(1) != artifact_.vocab ||
      logits_.dtype() != kFloat32)
    throw Error(folder + ": vocab_size is " + std::to_string(artifact_.vocab) +
                ", which the library's logits are not" + kRemedy);
  reset();
}

void Model::load(int threads) {
  share_runtime();
  library_ = ffi::Module::LoadFromFile(artifact_.library);
  machine_ = function_of(*library_, "vm_load_executable")().cast<ffi::Module>();
  set_threads(threads);
  function_of(*machine_, "vm_initialization")(static_cast<int>(kDLCPU), 0, kPooledAllocator);
  check_parameters("step");
  check_parameters("prefill");
  for (const auto& state : artifact_.states) states_.push_back(allocate(state.shape, state.dtype));
  token_ = allocate({1}, kInt32);
  reset();
  prefill_ = function_of(*machine_, "prefill");
  // A saved function holds its arguments: a step then hands none over.
  std::vector<ffi::AnyView> bound{ffi::AnyView("step"), ffi::AnyView("bound_step"),
                                  ffi::AnyView(true), ffi::AnyView(token_)};
  for (const auto& state : states_) bound.emplace_back(state);
  for (const auto& weight : artifact_.weights) bound.emplace_back(weight);
  ffi::Any none;
  function_of(*machine_, "save_function").CallPacked(bound.data(), bound.size(), &none);
  bound_step_ = function_of(*machine_, "bound_step");
  step(0);
  if (threads) return;
  threads_ = choose_threads([this] { bound_step_(); });
  set_threads(threads_);
}

void Model::check_parameters(const char* function) const {
  const auto takes = function_of(*machine_, "get_function_arity")(function).cast<int64_t>();
  const auto tensors = static_cast<int64_t>(artifact_.weights.size());
  const int64_t given = 1 + static_cast<int64_t>(artifact_.states.size()) + tensors;
  if (given < takes)
    throw Error("manifest.json: tensor " + std::to_string(tensors) + " is missing: " + function +
                " takes more" + kRemedy);
  if (given > takes)
    throw Error("manifest.json: tensor " + std::to_string(tensors - given + takes) +
                " is one too many for " + function + kRemedy);
}

void Model::reset() {
  text_.clear();
  for (const auto& state : states_)
    std::memset(state.data_ptr(), 0, state.numel() * state.dtype().bits / 8);
  if (logits_.defined()) std::memset(logits_.data_ptr(), 0, logits_.numel() * sizeof(float));
}

void Model::check(int32_t token) const {
  if (token < 0 || token >= artifact_.vocab)
    throw Error("token " + std::to_string(token) + " is outside the vocabulary of " +
                std::to_string(artifact_.vocab));
}

void Model::check_room(size_t tokens) const {
  const auto total = static_cast<int64_t>(text_.size() + tokens);
  if (artifact_.context && total > artifact_.context)
    throw Error("the text has " + std::to_string(total) + " tokens: this model reads " +
                std::to_string(artifact_.context) + " at most");
}

void Model::prefill(const std::vector<int32_t>& tokens) {
  if (tokens.empty()) throw Error("no tokens to read: give at least one");
  for (const int32_t token : tokens) check(token);
  check_room(tokens.size());
  const int64_t total = static_cast<int64_t>(tokens.size());
  for (int64_t start = 0; start < total; start += artifact_.chunk) {
    const int64_t count = std::min(artifact_.chunk, total - start);
    const auto chunk = allocate({count}, kInt32);
    std::copy_n(tokens.begin() + start, count, static_cast<int32_t*>(chunk.data_ptr()));
    std::vector<ffi::AnyView> arguments{ffi::AnyView(chunk)};
    for (const auto& state : states_) arguments.emplace_back(state);
    for (const auto& weight : artifact_.weights) arguments.emplace_back(weight);
    ffi::Any result;
    prefill_.CallPacked(arguments.data(), arguments.size(), &result);
    logits_ = result.cast<ffi::Array<ffi::Any>>()[0].cast<ffi::Tensor>();
    text_.insert(text_.end(), tokens.begin() + start, tokens.begin() + start + count);
  }
}

void Model::step(int32_t token) {
  check(token);
  check_room(1);
  *static_cast<int32_t*>(token_.data_ptr()) = token;
  logits_ = bound_step_().cast<ffi::Array<ffi::Any>>()[0].cast<ffi::Tensor>();
  text_.push_back(token);
}

const float* Model::logits() const { return static_cast<const float*>(logits_.data_ptr()); }

void Model::resume(std::vector<int32_t> text, const std::vector<float>& logits) {
  text_ = std::move(text);
  logits_ = allocate({1, artifact_.vocab}, kFloat32);
  std::copy(logits.begin(), logits.end(), static_cast<float*>(logits_.data_ptr()));
}

}  // namespace c4n
