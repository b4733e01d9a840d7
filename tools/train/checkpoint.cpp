#include "tools/train/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/check.hpp"
#include "core/safetensors.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

const std::string kVelocity = "velocity/", kParameter = "parameter/";

// The field `key` of the file's metadata, as JSON.
Json metadata(const SafetensorsFile& file, const std::string& path, const char* key) {
  const auto entry = file.metadata.find(key);
  PLEAT_CHECK_FILE(entry != file.metadata.end(), path, "not the state of a training run: no '", key, "'");
  Json json = Json::parse(entry->second, nullptr, false);
  PLEAT_CHECK_FILE(json.is_object(), path, "'", key, "' is not a JSON object");
  return json;
}

// Fills `tensors` with those of the file under `prefix`; names and shapes must be the same.
void take(SafetensorsFile& file, const std::string& path, const std::string& prefix, Tensors& tensors) {
  for (auto& [name, tensor] : tensors) {
    const auto saved = file.tensors.find(prefix + name);
    PLEAT_CHECK_FILE(saved != file.tensors.end(), path, "tensor '", prefix, name, "' is missing");
    PLEAT_CHECK_FILE(saved->second.shape == tensor.shape, path, "tensor '", prefix, name, "' has shape ",
                     to_string(saved->second.shape), ", expected ", to_string(tensor.shape));
    std::ranges::copy(saved->second.values, tensor.values.begin());  // others hold the values' address
  }
}

void check_same(const std::string& path, const Json& saved, const Recipe& recipe) {
  const Json given = to_json(recipe);
  for (const auto& [key, value] : given.items())
    PLEAT_CHECK_FILE(saved.contains(key) && saved[key] == value, path, "the run there has ", key, " ",
                     saved.contains(key) ? saved[key].dump() : "unset", ", this command ", value.dump(),
                     "\nhint: resume with the command that started the run");
}

}  // namespace

void save_checkpoint(const std::string& path, const Recipe& recipe, const RunState& s, const Model& model,
                     const Tensors& velocities) {
  Tensors tensors;
  for (const auto& [name, tensor] : model.tensors) tensors[kParameter + name] = tensor;
  for (const auto& [name, tensor] : velocities) tensors[kVelocity + name] = tensor;
  const Json state = {{"epoch", s.epoch},
                      {"batch", s.batch},
                      {"loss_sum", s.loss_sum},
                      {"correct", s.correct},
                      {"seen", s.seen},
                      {"last_loss", s.last_loss},
                      {"best_top1", s.best_top1},
                      {"train_seconds", s.train_seconds},
                      {"total_seconds", s.total_seconds},
                      {"train_images", s.train_images}};
  save_safetensors(
      path, tensors,
      {{"pleat.recipe", to_json(recipe).dump()}, {"pleat.state", state.dump()}, {"pleat.graph", to_text(model.graph)}});
}

RunState load_checkpoint(const std::string& path, const Recipe& recipe, Model& model, Tensors& velocities) {
  SafetensorsFile file = load_safetensors(path);
  check_same(path, metadata(file, path, "pleat.recipe"), recipe);
  PLEAT_CHECK_FILE(file.metadata["pleat.graph"] == to_text(model.graph), path, "the run there has another graph");
  const Json state = metadata(file, path, "pleat.state");
  RunState s;
  try {
    s = {.epoch = state.at("epoch"),
         .batch = state.at("batch"),
         .loss_sum = state.at("loss_sum"),
         .correct = state.at("correct"),
         .seen = state.at("seen"),
         .last_loss = state.at("last_loss"),
         .best_top1 = state.at("best_top1"),
         .train_seconds = state.at("train_seconds"),
         .total_seconds = state.at("total_seconds"),
         .train_images = state.at("train_images")};
  } catch (const Json::exception& error) {
    throw std::runtime_error(concat(path, ": bad state: ", error.what()));
  }
  PLEAT_CHECK_FILE(s.epoch >= 0 && s.epoch <= recipe.epochs && s.batch >= 0, path, "stands at epoch ", s.epoch,
                   ", batch ", s.batch, ", expected at most ", recipe.epochs, " epochs");
  take(file, path, kParameter, model.tensors);
  take(file, path, kVelocity, velocities);
  return s;
}

std::string saved_algorithms(const std::string& path, Recipe recipe) {
  const Json saved = metadata(load_safetensors(path), path, "pleat.recipe");
  recipe.algorithms = saved.value("algorithms", std::string());
  check_same(path, saved, recipe);
  return recipe.algorithms;
}

bool is_unfinished(const std::string& path) {
  if (!std::filesystem::exists(path)) return false;
  const SafetensorsFile file = load_safetensors(path);
  const Json state = metadata(file, path, "pleat.state"), recipe = metadata(file, path, "pleat.recipe");
  return state.value("epoch", int64_t{0}) < recipe.value("epochs", int64_t{0});
}

}  // namespace pleat
