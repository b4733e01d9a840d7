// The idx format of MNIST and its relatives, plain or gzipped: big-endian magic number 0x0803 (bytes, three dimensions)
// or 0x0801 (bytes, one dimension), the dimensions as 32-bit numbers, the bytes. Source:
// http://yann.lecun.com/exdb/mnist/.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace pleat {

/// Reads a split from a folder with {train,t10k}-{images-idx3,labels-idx1}-ubyte or .gz files; `classes` are the names
/// by label; with none, they are numbers up to the greatest label of both splits. Throws std::runtime_error for bad
/// files, images of another size than `info` says among them, if it says one.
Dataset read_idx(const DatasetInfo& info, const std::string& dir, Split split, std::vector<std::string> classes);

/// The plain file `stem` in `dir`, else its .gz; empty if neither is there.
std::string find_idx_file(const std::string& dir, const std::string& stem);

}  // namespace pleat
