// The idx format of MNIST and similar data sets, plain or gzipped. A file has a magic number, 0x0803 (bytes in three
// dimensions) or 0x0801 (bytes in one dimension), then the dimensions, then the bytes. The magic number and the
// dimensions are 32-bit and big-endian. Source: http://yann.lecun.com/exdb/mnist/.
#pragma once

#include <string>

#include "data/dataset.hpp"

namespace pleat {

/// Reads one split from a folder with the files {train,t10k}-{images-idx3,labels-idx1}-ubyte, each plain or .gz.
/// `classes` are the names of the labels; if it is empty, the names are the numbers up to the greatest label of both
/// splits. Throws std::runtime_error for malformed files, and if the pictures have another size than `info` states
/// (unless it states none).
Dataset read_idx(const DatasetInfo& info, const std::string& dir, Split split, std::vector<std::string> classes);

/// The path of the file `stem` in `dir`, or else of `stem`.gz; empty if neither exists.
std::string find_idx_file(const std::string& dir, const std::string& stem);

}  // namespace pleat
