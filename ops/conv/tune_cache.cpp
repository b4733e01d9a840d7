#include "ops/conv/tune_cache.hpp"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/machine.hpp"
#include "core/parallel.hpp"
#include "core/version.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

std::string cache_path() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache != nullptr && *cache != '\0') return std::string(cache) + "/pleat/tune.json";
  if (home != nullptr && *home != '\0') return std::string(home) + "/.cache/pleat/tune.json";
  return {};
}

Json read_tables(const std::string& path) {
  try {
    const std::vector<std::byte> bytes = read_file(path);
    const char* text = reinterpret_cast<const char*>(bytes.data());
    Json all = Json::parse(text, text + bytes.size(), nullptr, /*allow_exceptions=*/false);
    if (all.is_object()) return all;     // else a damaged file
  } catch (const std::runtime_error&) {  // no file yet
  }
  return Json::object();
}

}  // namespace

TuneCache::TuneCache() : path_(cache_path()) {
  const Machine machine = read_machine();
  key_ = machine.cpu;
  for (const std::string& feature : machine.features) key_ += ' ' + feature;
  key_ += concat(", ", num_threads(), " threads, oneDNN ", machine.onednn, ", Pleat ", kVersion);
  const Json all = read_tables(path_);
  const auto table = all.find(key_);
  if (table == all.end() || !table->is_object()) return;
  for (const auto& [shape, choice] : table->items())
    if (choice.is_string()) known_[shape] = choice;
}

TuneCache::~TuneCache() {
  save();
}

std::string TuneCache::find(const std::string& shape) const {
  const auto at = known_.find(shape);
  return at == known_.end() ? std::string() : at->second;
}

void TuneCache::remember(const std::string& shape, const std::string& choice) {
  known_[shape] = added_[shape] = choice;
}

void TuneCache::save() {
  if (added_.empty() || path_.empty()) return;
  try {
    Json all = read_tables(path_);
    Json& table = all[key_];
    if (!table.is_object()) table = Json::object();
    for (const auto& [shape, choice] : added_) table[shape] = choice;
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
    write_file(path_, all.dump(1) + "\n");
    added_.clear();
  } catch (const std::exception&) {  // said above: it only costs time
  }
}

}  // namespace pleat
