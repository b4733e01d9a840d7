// Whole files, read and written safely.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// The file's bytes. Throws std::runtime_error `path: reason`.
std::vector<std::byte> read_file(const std::string& path);

/// The lines of a text file that are not empty, without line ends and without a byte order mark. Throws
/// std::runtime_error `path: reason`.
std::vector<std::string> read_lines(const std::string& path);

/// Writes the parts one after another: to a temporary name beside `path`, fsync, rename, fsync of the folder. On any
/// failure (full disk, unwritable folder) the temporary file is removed, an existing `path` stays whole, and
/// std::runtime_error `path: reason` is thrown.
void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file(const std::string& path, const std::string& text);

}  // namespace pleat
