// Loops that the compiler vectorises by itself, compiled for each instruction set.
#pragma once

/// Compiles a function for AVX-512, AVX2 and plain x86-64 and picks at load. Put it on the innermost kernels (free
/// functions on rows of memory, no OpenMP inside: outlined parallel bodies are not cloned). Sanitizers run before the
/// picking can, so they get the plain build.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define PLEAT_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PLEAT_SIMD
#endif
