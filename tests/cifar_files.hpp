// A tiny data set in CIFAR-10's format, for tests that train.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/temp_dir.hpp"

namespace pleat {

/// Writes CIFAR-10's files with `train` and `test` pictures: noise, and a bright bar whose place is the class.
inline void write_cifar(const TempDir& dir, int train, int test) {
  const std::string set = "cifar-10-batches-bin";
  std::filesystem::create_directories(dir.path(set));
  const auto write = [&](const std::string& name, int count, int seed) {
    std::ofstream file(dir.path(set + "/" + name), std::ios::binary);
    for (int i = 0; i < count; ++i) {
      const int label = (i * 7 + seed) % 10;
      std::string record(1, static_cast<char>(label));
      for (int p = 0; p < 3 * 32 * 32; ++p)
        record += static_cast<char>(p / 32 % 32 / 3 == label ? 220 : (p * 31 + i * 17 + seed * p % 13) % 90);
      file << record;
    }
  };
  for (int b = 1; b <= 5; ++b) write("data_batch_" + std::to_string(b) + ".bin", train / 5, b);
  write("test_batch.bin", test, 6);
  std::ofstream names(dir.path(set + "/batches.meta.txt"));
  for (int c = 0; c < 10; ++c) names << "class" << c << '\n';
}

}  // namespace pleat
