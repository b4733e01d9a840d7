// Reads and writes whole files. A file is written completely or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// Returns the bytes of a file, or its first `most` bytes if it has more. Throws std::runtime_error `path: reason`.
std::vector<std::byte> read_file(const std::string& path, std::size_t most = SIZE_MAX);

/// Returns the lines of a text file without their line ends and without a byte order mark; empty lines are left out.
/// Throws std::runtime_error `path: reason`.
std::vector<std::string> read_lines(const std::string& path);

/// Writes the parts one after another to a temporary file next to `path`, flushes it to the disk and renames it to
/// `path`. On any failure, such as a full disk or a folder without write permission, the temporary file is removed, an
/// existing file at `path` is left unchanged, and std::runtime_error `path: reason` is thrown. Symbolic links at `path`
/// stay, and the file behind them is replaced; a file that is replaced hands its mode on. Temporary files that killed
/// programs left of the same `path` are removed.
void write_file(const std::string& path, std::span<const std::span<const std::byte>> parts);
void write_file(const std::string& path, const std::string& text);

/// Throws std::runtime_error as write_file would if no file can be made at `path`, and if one of `inputs`, names of
/// files or of anything else, is the same file. For what takes long before it writes, or must not overwrite what it
/// reads.
void check_output(const std::string& path, std::initializer_list<std::string> inputs);

}  // namespace pleat
