#include "cpu.hpp"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace c4n {

#if defined(__aarch64__)

const char* machine() { return "aarch64"; }

namespace {
// Bits of AT_HWCAP and AT_HWCAP2 of Linux, arch/arm64; old headers lack the later names.
bool has(const std::string& name) {
  const unsigned long one = getauxval(AT_HWCAP), two = getauxval(AT_HWCAP2);
  if (name == "neon") return one >> 1 & 1;
  if (name == "fullfp16") return (one >> 9 & 1) && (one >> 10 & 1);
  if (name == "dotprod") return one >> 20 & 1;
  if (name == "i8mm") return two >> 13 & 1;
  return false;
}
}  // namespace

#elif defined(__x86_64__)

const char* machine() { return "x86_64"; }

namespace {
bool has(const std::string& name) {
  __builtin_cpu_init();
  if (name == "avx2") return __builtin_cpu_supports("avx2");
  if (name == "fma") return __builtin_cpu_supports("fma");
  if (name == "f16c") return __builtin_cpu_supports("f16c");
  if (name == "avx512f") return __builtin_cpu_supports("avx512f");
  if (name == "avx512bw") return __builtin_cpu_supports("avx512bw");
  if (name == "avx512vl") return __builtin_cpu_supports("avx512vl");
  if (name == "avx512vnni") return __builtin_cpu_supports("avx512vnni");
  if (name == "avx512vbmi") return __builtin_cpu_supports("avx512vbmi");
  return false;
}
}  // namespace

#else
#error "the runner knows aarch64 and x86_64"
#endif

std::vector<std::string> lacking(const std::vector<std::string>& features) {
  std::vector<std::string> missing;
  for (const auto& name : features)
    if (!has(name)) missing.push_back(name);
  return missing;
}

}  // namespace c4n
