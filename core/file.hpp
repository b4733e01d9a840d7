// Reads and writes whole files. A file is written completely or not at all.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// Returns the bytes of a file. Throws std::runtime_error `path: reason`.
std::vector<std::byte> read_file(const std::string& path);

/// Returns the lines of a text file without their line ends and without a byte order mark; empty lines are left out.
/// Throws std::runtime_error `path: reason`.
std::vector<std::string> read_lines(const std::string& path);

/// Writes the parts one after another to a temporary file next to `path`, flushes it to the disk and renames it to
/// `path`. On any failure, such as a full disk or a folder without write permission, the temporary file is removed, an
/// existing file at `path` is left unchanged, and std::runtime_error `path: reason` is thrown.
void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file(const std::string& path, const std::string& text);

}  // namespace pleat
