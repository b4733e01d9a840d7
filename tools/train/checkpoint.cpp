#include "tools/train/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/check.hpp"
#include "core/json.hpp"
#include "core/safetensors.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

const std::string kVelocity = "velocity/", kParameter = "parameter/", kAverage = "average/";

// The field `key` of the file's metadata, as JSON.
Json metadata(const SafetensorsFile& file, const std::string& path, const char* key) {
  const auto entry = file.metadata.find(key);
  PLEAT_CHECK_FILE(entry != file.metadata.end(), path, "not the state of a training run: no '", key, "'");
  Json json = parse_json(entry->second);
  PLEAT_CHECK_FILE(json.is_object(), path, "'", key, "' is not a JSON object");
  return json;
}

// Copies the file's tensors whose names begin with `prefix` into `tensors`, which must have the same names and shapes.
void read_tensors(SafetensorsFile& file, const std::string& path, const std::string& prefix, Tensors& tensors) {
  for (auto& [name, tensor] : tensors) {
    const auto saved = file.tensors.find(prefix + name);
    PLEAT_CHECK_FILE(saved != file.tensors.end(), path, "tensor '", prefix, name, "' is missing");
    PLEAT_CHECK_FILE(saved->second.shape == tensor.shape, path, "tensor '", prefix, name, "' has shape ",
                     to_string(saved->second.shape), ", expected ", to_string(tensor.shape));
    std::ranges::copy(saved->second.values, tensor.values.begin());  // in place: the executor holds their address
  }
}

// A setting that the saved recipe lacks is younger than the file, and was at its default then. Any number of ranks may
// go on with a run, and each of them with another number of threads.
void check_same(const std::string& path, const Json& saved, const Recipe& recipe) {
  const Json given = to_json(recipe), defaults = to_json(Recipe{});
  const bool other_ranks = saved.value("ranks", 1) != recipe.ranks;
  for (const auto& [key, value] : given.items()) {
    if (key == "ranks" || (key == "threads" && other_ranks)) continue;
    const Json& before = saved.contains(key) ? saved[key] : defaults[key];
    PLEAT_CHECK_FILE(before == value, path, "the run there has ", key, " ", before.is_null() ? "unset" : before.dump(),
                     ", this one ", value.dump(), "\nhint: resume a run as it was started");
  }
}

Json to_json(const RunContents& contents) {
  return {{"start", contents.start}, {"data", contents.data}, {"teacher", contents.teacher}};
}

void check_contents(const std::string& path, SafetensorsFile& file, const Recipe& recipe, const RunContents& contents) {
  if (!file.metadata.contains("pleat.contents")) return;
  const Json saved = metadata(file, path, "pleat.contents"), given = to_json(contents);
  const std::pair<const char*, std::string> named[] = {
      {"start", recipe.model}, {"data", recipe.data}, {"teacher", recipe.teacher}};
  for (const auto& [key, name] : named)
    PLEAT_CHECK_FILE(saved.contains(key) && saved[key] == given[key], path, "the run there began with another ", key,
                     ": the contents of '", name, "' have changed\nhint: resume a run with what it was started with");
}

}  // namespace

void save_checkpoint(const std::string& path, const Recipe& recipe, const RunContents& contents, const RunState& s,
                     const Graph& graph, const RunTensors& run) {
  Tensors tensors;
  for (const auto& [name, tensor] : *run.parameters) tensors[kParameter + name] = tensor;
  for (const auto& [name, tensor] : *run.velocities) tensors[kVelocity + name] = tensor;
  if (run.averages)
    for (const auto& [name, tensor] : *run.averages) tensors[kAverage + name] = tensor;
  const Json state = {{"epoch", s.epoch},
                      {"batch", s.batch},
                      {"loss_sum", s.loss_sum},
                      {"correct", s.correct},
                      {"seen", s.seen},
                      {"last_loss", s.last_loss},
                      {"best_top1", s.best_top1},
                      {"train_seconds", s.train_seconds},
                      {"total_seconds", s.total_seconds},
                      {"lambda", s.lambda},
                      {"arrived", s.arrived},
                      {"train_images", s.train_images}};
  save_safetensors(path, tensors,
                   {{"pleat.recipe", to_json(recipe).dump()},
                    {"pleat.contents", to_json(contents).dump()},
                    {"pleat.state", state.dump()},
                    {"pleat.graph", to_text(graph)}});
}

RunState load_checkpoint(const std::string& path, const Recipe& recipe, const RunContents& contents, const Graph& graph,
                         const RunTensors& tensors) {
  SafetensorsFile file = load_safetensors(path);
  const Json saved_recipe = metadata(file, path, "pleat.recipe");
  check_same(path, saved_recipe, recipe);
  PLEAT_CHECK_FILE(file.metadata["pleat.graph"] == to_text(graph), path, "the run there has another graph");
  check_contents(path, file, recipe, contents);
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
         .lambda = state.value("lambda", recipe.lambda),  // not in files from before it could grow
         .arrived = state.value("arrived", int64_t{0}),
         .train_images = state.at("train_images"),
         .ranks = saved_recipe.value("ranks", 1)};
  } catch (const Json::exception&) {
    PLEAT_CHECK_FILE(false, path, "'pleat.state' lacks a number, or has one of another type");
  }
  PLEAT_CHECK_FILE(s.epoch >= 0 && s.epoch <= recipe.epochs && s.batch >= 0, path, "stands at epoch ", s.epoch,
                   ", batch ", s.batch, ", expected at most ", recipe.epochs, " epochs");
  read_tensors(file, path, kParameter, *tensors.parameters);
  read_tensors(file, path, kVelocity, *tensors.velocities);
  if (tensors.averages) read_tensors(file, path, kAverage, *tensors.averages);
  return s;
}

std::string saved_algorithms(const std::string& path, Recipe recipe) {
  const Json saved = metadata(load_safetensors(path), path, "pleat.recipe");
  recipe.algorithms = saved.value("algorithms", std::string());
  check_same(path, saved, recipe);
  return recipe.algorithms;
}

int64_t saved_epochs(const std::string& path) {
  const int64_t epochs = metadata(load_safetensors(path), path, "pleat.recipe").value("epochs", int64_t{0});
  PLEAT_CHECK_FILE(epochs >= 1, path, "the run there has ", epochs, " epochs, expected at least 1");
  return epochs;
}

bool is_unfinished(const std::string& path) {
  if (!std::filesystem::exists(path)) return false;
  const SafetensorsFile file = load_safetensors(path);
  const Json state = metadata(file, path, "pleat.state"), recipe = metadata(file, path, "pleat.recipe");
  return state.value("epoch", int64_t{0}) < recipe.value("epochs", int64_t{0});
}

}  // namespace pleat
