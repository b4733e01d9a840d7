#include "tools/train/curve_file.hpp"

#include <filesystem>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/json.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// The fields of an entry that is done, besides those that only people read.
constexpr const char* kPlan[] = {"depths", "base", "prefold", "depth"};
constexpr const char* kTraining[] = {"top1", "epochs", "seconds", "model"};
constexpr const char* kPoint[] = {"depth", "top1", "epochs", "seconds", "kept", "merged"};

template <std::size_t N>
void check_entry(const std::string& path, const std::string& what, const Json& entry, const char* const (&fields)[N]) {
  for (const char* field : fields)
    PLEAT_CHECK_FILE(entry.is_object() && entry.contains(field), path, what, " has no '", field, "'");
}

void check_same(const std::string& path, const std::string& what, const Json& saved, const Json& asked) {
  for (const auto& [key, value] : asked.items()) {
    const Json before = saved.contains(key) ? saved[key] : Json();
    if (value.is_object() && before.is_object())
      check_same(path, concat(what, key, "."), before, value);
    else
      PLEAT_CHECK_FILE(before == value, path, "the experiment there has ", what, key, " ", before.dump(), ", this one ",
                       value.dump(), "\nhint: choose another folder (--out) for another experiment");
  }
}

}  // namespace

CurveFile::CurveFile(std::string path, const Json& asked) : path_(std::move(path)) {
  if (std::filesystem::exists(path_)) {
    read(asked);
    return;
  }
  json_ = asked;
  json_["plan"] = json_["base"] = json_["prefold"] = nullptr;
  json_["points"] = Json::array();
}

void CurveFile::read(const Json& asked) {
  const std::vector<std::byte> bytes = read_file(path_);
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  json_ = parse_json({text, bytes.size()});
  PLEAT_CHECK_FILE(json_.is_object(), path_, "cut short, or not a JSON object");
  for (const char* key : {"network", "data", "plan", "base", "prefold", "points"})
    PLEAT_CHECK_FILE(json_.contains(key), path_, "not a curve's file: it has no '", key, "'");
  PLEAT_CHECK_FILE(json_["points"].is_array(), path_, "'points' is no list");
  check_same(path_, "", json_, asked);
  check_entry(path_, "plan", json_["plan"], kPlan);
  if (!json_["base"].is_null()) check_entry(path_, "base", json_["base"], kTraining);
  if (!json_["prefold"].is_null()) check_entry(path_, "prefold", json_["prefold"], kTraining);
  for (const Json& point : json_["points"]) check_entry(path_, "a point", point, kPoint);
  const std::size_t done = json_["points"].size(), planned = json_["plan"]["depths"].size();
  PLEAT_CHECK_FILE(done <= planned, path_, "has ", done, " points, expected at most ", planned);
  for (std::size_t i = 0; i < done; ++i)
    PLEAT_CHECK_FILE(json_["points"][i]["depth"] == json_["plan"]["depths"][i], path_, "point ", i, " is of depth ",
                     json_["points"][i]["depth"].dump(), ", expected ", json_["plan"]["depths"][i].dump());
}

void CurveFile::set(const char* key, Json value) {
  json_[key] = std::move(value);
  write();
}

void CurveFile::add_point(Json point) {
  json_["points"].push_back(std::move(point));
  write();
}

void CurveFile::write() const {
  write_file(path_, json_.dump(1) + '\n');
}

}  // namespace pleat
