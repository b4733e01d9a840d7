#include "ops/conv/tune_cache.hpp"

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/file_lock.hpp"
#include "core/machine.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/kernel_hash.hpp"

namespace pleat {
namespace {

using Json = nlohmann::json;
using Table = std::map<std::string, std::string>;
using Tables = std::map<std::string, Table>;

std::string cache_path() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache != nullptr && *cache != '\0') return std::string(cache) + "/pleat/tune.json";
  if (home != nullptr && *home != '\0') return std::string(home) + "/.cache/pleat/tune.json";
  return {};
}

// Reads what can be read of an object of objects of strings, the only thing that is written here. Anything else is
// skipped, however deeply it is nested: brackets are counted, not followed by recursion. A string ends at the end of
// its line at the latest, and a line with one blank in front of a string begins a table, as write_tables indents it; so
// whatever was damaged before that line, the tables after it are read.
class TableReader {
 public:
  explicit TableReader(std::string_view text) : text_(text) {}

  Tables read() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (text_.substr(at_).starts_with("\n \"")) depth_ = 1;
      if (depth_ < 2) table_ = nullptr;
      if (c == '"') {
        read_member();
      } else {
        depth_ += c == '{' || c == '[';
        depth_ -= (c == '}' || c == ']') && depth_ > 0;
        ++at_;
      }
    }
    return std::move(tables_);
  }

 private:
  // A key with its value, if the value is a string or begins a table; of another value the key alone.
  void read_member() {
    std::string key, value;
    if (!read_string(key)) return;
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != ':') return;
    ++at_;
    skip_blanks();
    if (at_ == text_.size()) return;
    if (text_[at_] == '{' && depth_ == 1) {
      table_ = &tables_[key];
      depth_ = 2;
      ++at_;
    } else if (text_[at_] == '"' && read_string(value) && depth_ == 2 && table_ != nullptr) {
      (*table_)[key] = value;
    }
  }

  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  // Reads the string that begins here and goes on behind it; false if it is none.
  bool read_string(std::string& string) {
    const std::size_t begin = at_++;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') at_ += text_[at_] == '\\' ? 2 : 1;
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    const std::string_view token = text_.substr(begin, ++at_ - begin);
    const Json parsed = Json::parse(token.begin(), token.end(), nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_string()) return false;
    string = parsed;
    return true;
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  int64_t depth_ = 0;       // of brackets
  Table* table_ = nullptr;  // the one that is being read
  Tables tables_;
};

Tables read_tables(const std::string& path) {
  try {
    const std::vector<std::byte> bytes = read_file(path);
    return TableReader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}).read();
  } catch (const std::runtime_error&) {  // there is no file yet
    return {};
  }
}

void write_tables(const std::string& path, const Tables& tables) {
  const auto quoted = [](const std::string& text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  std::string text = "{";
  const char* comma = "";
  for (const auto& [key, table] : tables) {
    text += concat(comma, "\n ", quoted(key), ": {");
    comma = "";
    for (const auto& [task, choice] : table) {
      text += concat(comma, "\n  ", quoted(task), ": ", quoted(choice));
      comma = ",";
    }
    text += "\n }";
    comma = ",";
  }
  write_file(path, text + "\n}\n");
}

}  // namespace

TuneCache::TuneCache() : path_(cache_path()) {
  const Machine machine = read_machine();
  key_ = machine.cpu;
  for (const std::string& feature : machine.features) key_ += ' ' + feature;
  key_ += concat(", kernels in ", instruction_set().name, ", ", num_threads(), " threads, oneDNN ", machine.onednn,
                 ", kernels ", kKernelHash);
  Tables tables = read_tables(path_);
  known_ = std::move(tables[key_]);
}

TuneCache::~TuneCache() {
  save();
}

std::string TuneCache::find(const std::string& task) const {
  const auto found = known_.find(task);
  return found == known_.end() ? std::string() : found->second;
}

void TuneCache::remember(const std::string& task, const std::string& choice) {
  known_[task] = added_[task] = choice;
}

void TuneCache::save() {
  if (added_.empty() || path_.empty()) return;
  try {
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
    const FileLock lock(path_ + ".lock", FileLock::Wait::yes);
    Tables tables = read_tables(path_);
    for (const auto& [task, choice] : added_) tables[key_][task] = choice;
    write_tables(path_, tables);
    added_.clear();
  } catch (const std::exception&) {  // costs time alone, as the header says
  }
}

}  // namespace pleat
