#include "tools/train/rank_jobs.hpp"

#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.hpp"
#include "core/mpi.hpp"
#include "core/parallel.hpp"
#include "ops/model_file.hpp"
#include "tools/train/interrupt.hpp"
#include "tools/train/trainer.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// A header with names and shapes, then each tensor's values.
void send(const Model& model) {
  Json shapes = Json::object();
  for (const auto& [name, tensor] : model.tensors) shapes[name] = tensor.shape;
  std::string header = Json{{"metadata", metadata(model)}, {"shapes", shapes}}.dump();
  world().broadcast(header);
  for (const auto& [name, tensor] : model.tensors) {
    Tensor copy = tensor;
    world().broadcast(std::as_writable_bytes(std::span(copy.values)));
  }
}

Model receive() {
  std::string text;
  world().broadcast(text);
  const Json header = Json::parse(text);
  SafetensorsFile file;
  file.metadata = header.at("metadata").get<std::map<std::string, std::string>>();
  for (const auto& [name, shape] : header.at("shapes").items()) {
    Tensor& tensor = file.tensors[name] = Tensor(shape.get<std::vector<int64_t>>());
    world().broadcast(std::as_writable_bytes(std::span(tensor.values)));
  }
  return make_model(std::move(file), "the first rank's model");
}

void train(const Json& job) {
  const Recipe recipe = recipe_from_json(job.at("recipe"));
  set_num_threads(recipe.threads);
  Model model = receive();
  std::optional<Model> teacher;
  if (job.at("teacher").get<bool>()) teacher = receive();
  const TrainOptions options{.quiet = true, .teacher = teacher ? &*teacher : nullptr};
  try {
    run_training(model, load_training_data(model, recipe, true), recipe, "", options);
  } catch (const Interrupted&) {
    // The first rank says so, and has the state.
  }
}

}  // namespace

void send_training_job(const Recipe& recipe, const Model& model, const Model* teacher) {
  std::string job = Json{{"recipe", to_json(recipe)}, {"teacher", teacher != nullptr}}.dump();
  world().broadcast(job);
  send(model);
  if (teacher != nullptr) send(*teacher);
}

void work_for_first_rank() {
  for (;;) {
    std::string job;
    world().broadcast(job);
    if (job.empty()) return;
    train(Json::parse(job));
  }
}

void dismiss_ranks() {
  std::string nothing;
  world().broadcast(nothing);
}

}  // namespace pleat
