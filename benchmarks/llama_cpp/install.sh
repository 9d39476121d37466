#!/usr/bin/env bash
# Builds llama.cpp from the sources that the llama-cpp-python package carries, to measure it as a baseline.
#
#   install.sh PREFIX [VERSION]         llama-bench, llama-quantize, decode: PREFIX/build/bin
#   install.sh --arm PREFIX [VERSION]   bench and decode for two levels of Arm CPU: PREFIX/arm-*
#   KLEIDIAI=SOURCES install.sh --arm PREFIX
#                                       the same with KleidiAI's kernels, too: PREFIX/arm-*-kleidiai
#
# SOURCES is a folder of KleidiAI, of the version in ggml/src/ggml-cpu/CMakeLists.txt, which would get it from GitHub.
# Needs python3 with pip, cmake, ninja and a C++ compiler (CC, CXX; clang is taken where there is one: GCC 12
# drops the stores before _tile_loadconfig, and ggml's AMX code dies of an illegal instruction). --arm needs
# Debian's g++-aarch64-linux-gnu; its programs run on Android's kernel and under qemu.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arm=no
[ "${1-}" = --arm ] && arm=yes && shift
prefix=$(realpath -m "${1:?use: install.sh [--arm] PREFIX [VERSION]}")
version=${2:-0.3.36}
python=${PYTHON:-python3}
source=$prefix/src/vendor/llama.cpp

if [ ! -d "$source" ]; then
  mkdir -p "$prefix/src"
  "$python" -m pip download -q --no-deps --no-binary llama-cpp-python \
    --dest "$prefix/sdist" "llama-cpp-python==$version"
  tar xzf "$prefix/sdist/llama_cpp_python-$version.tar.gz" -C "$prefix/src" --strip-components=1
fi

common=(-G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF
  -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF)
include=(-I "$source/include" -I "$source/ggml/include")

if [ $arm = no ]; then
  for name in clang clang-22 clang-21 clang-20 clang-19; do
    [ -z "${CC-}" ] && command -v $name >/dev/null && export CC=$name CXX=${name/clang/clang++}
  done
  cmake -S "$source" -B "$prefix/build" "${common[@]}" -DGGML_NATIVE=ON -DLLAMA_BUILD_TOOLS=ON
  nice ninja -C "$prefix/build" llama-bench llama-quantize
  "${CXX:-c++}" -O2 -std=c++17 "${include[@]}" "$here/decode.cpp" -o "$prefix/build/bin/decode" \
    -L "$prefix/build/bin" -Wl,-rpath,"$prefix/build/bin" -lllama -lggml -lggml-cpu -lggml-base
  echo "programs: $prefix/build/bin"
  exit
fi

printf 'set(CMAKE_%s)\n' 'SYSTEM_NAME Linux' 'SYSTEM_PROCESSOR aarch64' 'C_COMPILER aarch64-linux-gnu-gcc' \
  'CXX_COMPILER aarch64-linux-gnu-g++' 'FIND_ROOT_PATH_MODE_PROGRAM NEVER' 'FIND_ROOT_PATH_MODE_LIBRARY ONLY' \
  'FIND_ROOT_PATH_MODE_INCLUDE ONLY' >"$prefix/aarch64.cmake"
# Of llama.cpp and ggml only ggml-cpu has code for a CPU: the rest is built for the first level alone.
first=$prefix/arm-dotprod
levels=(dotprod i8mm)
if [ -n "${KLEIDIAI-}" ]; then
  levels+=(dotprod-kleidiai i8mm-kleidiai)
  cp -r "$KLEIDIAI/." "$prefix/kleidiai"
  # GCC 12 dies of an internal error where it vectorises this file, which no type here needs.
  unused=$prefix/kleidiai/kai/ukernels/matmul/pack/kai_lhs_quant_pack_qai8dxp_bf16_neon.c
  echo '#pragma GCC optimize("no-tree-vectorize")' | cat - "$KLEIDIAI/${unused#"$prefix/kleidiai/"}" >"$unused"
fi
for level in "${levels[@]}"; do
  build=$prefix/arm-$level
  features=armv8.2-a+dotprod+fp16
  targets=(llama ggml ggml-cpu)
  extra=() kernels=()
  [ $level = dotprod ] || targets=(ggml-cpu)
  [[ $level != i8mm* ]] || features+=+i8mm
  if [[ $level = *-kleidiai ]]; then
    extra=(-DGGML_CPU_KLEIDIAI=ON -DFETCHCONTENT_SOURCE_DIR_KLEIDIAI="$prefix/kleidiai")
    kernels=("$build/_deps/kleidiai-build/libkleidiai.a")
  fi
  cmake -S "$source" -B "$build" "${common[@]}" -DCMAKE_TOOLCHAIN_FILE="$prefix/aarch64.cmake" \
    -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=$features -DGGML_OPENMP=OFF \
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF "${extra[@]}"
  nice ninja -C "$build" "${targets[@]}"
  libraries=("$first/src/libllama.a" "$first/ggml/src/libggml.a" "$build/ggml/src/libggml-cpu.a" "${kernels[@]}")
  libraries+=("$first/ggml/src/libggml-base.a")
  # Static: a phone has no glibc, and under qemu functions then have names.
  for program in bench decode; do
    aarch64-linux-gnu-g++ -O2 -std=c++17 -static -pthread "${include[@]}" "$here/$program.cpp" -o "$build/$program" \
      "${libraries[@]}"
  done
  echo "programs: $build/bench, $build/decode"
done
