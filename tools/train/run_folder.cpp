#include "tools/train/run_folder.hpp"

#include <filesystem>

#include "core/check.hpp"
#include "tools/train/checkpoint.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

std::string made(const std::string& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  PLEAT_CHECK_FILE(fs::is_directory(folder), folder, "cannot be made: ", error.message());
  return folder + "/lock";
}

}  // namespace

bool has_state(const std::string& folder) {
  return fs::exists(folder + "/state.safetensors");
}

RunFolder::RunFolder(const std::string& path, const RunFolderOptions& options)
    : path_(path), lock_(made(path), FileLock::Wait::no) {
  const std::string state = path + "/state.safetensors", model = path + "/model.safetensors";
  if (options.overwrite) return;
  if (options.resume && has_state(path)) return;
  PLEAT_CHECK_FILE(options.resume || !is_unfinished(state), path,
                   "holds a run that has not finished\nhint: resume it (--resume), choose another folder (--out), or "
                   "lose it (--force)");
  PLEAT_CHECK_FILE(!has_state(path) && !fs::exists(model), path,
                   "holds a finished run\nhint: choose another folder (--out), or overwrite it (--force)");
}

void RunFolder::clear() const {
  // The state first: what a program that is killed here leaves cannot be taken for a run to go on with.
  for (const char* file : {"state.safetensors", "log.jsonl", "best.safetensors", "model.safetensors", "pictures.index"})
    fs::remove(path_ + '/' + file);
}

}  // namespace pleat
