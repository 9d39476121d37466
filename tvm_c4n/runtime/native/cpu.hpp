// What the processor can do, under LLVM's names: code that asks for more would die by a signal.
#pragma once

#include <string>
#include <vector>

namespace c4n {

// The first part of LLVM's triple of this program: "aarch64", "x86_64".
const char* machine();

// Those of `features` that this processor lacks, or that are not known here.
std::vector<std::string> lacking(const std::vector<std::string>& features);

}  // namespace c4n
