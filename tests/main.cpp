// Runs all tests, on the instruction set that PLEAT_ISA names.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <exception>
#include <iostream>

#include "core/simd/instruction_set.hpp"

int main(int argc, char** argv) {
  try {
    pleat::instruction_set();
  } catch (const std::exception& error) {
    std::cerr << "pleat-tests: error: " << error.what() << '\n';
    return 1;
  }
  return doctest::Context(argc, argv).run();
}
