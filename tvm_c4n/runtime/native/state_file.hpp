// State files (docs/reference/format-state.md): a text that was read, and what the model carries
// after it. The files of `tvm-c4n run --save-state`, for the same artifact.
#pragma once

#include <string>

#include "model.hpp"

namespace c4n {

// Writes the file whole or not at all. Throws Error where nothing was read, where the artifact is of
// before states had names, and for a disk error.
void save_state(const Model& model, const std::string& path);
// Goes on from a file. Throws Error where it is missing, damaged, or of another model; the model is
// then as it was.
void load_state(Model& model, const std::string& path);

}  // namespace c4n
