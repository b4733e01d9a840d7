#include "tools/report/report.hpp"

#include <filesystem>
#include <optional>

#include "core/check.hpp"
#include "ops/model_file.hpp"
#include "tools/report/html.hpp"
#include "tools/report/page.hpp"
#include "tools/report/sections.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;

struct Source {
  std::string name;
  enum class Kind { curve, run, log, model, plan, result } kind;
  std::optional<Model> model = {};  ///< Of a run, once it has one, and of a model's file.
  Json json = {};                   ///< Of a plan or a result.
};

Source open_folder(const std::string& name) {
  if (fs::exists(name + "/curve.json")) return {name, Source::Kind::curve};
  PLEAT_CHECK_FILE(fs::exists(name + "/log.jsonl"), name,
                   "has neither curve.json nor log.jsonl, expected the folder of a training run or of `pleat "
                   "curve`\nhint: give the files or folders in it one by one");
  Source source{name, Source::Kind::run};
  const std::string model = name + "/model.safetensors";
  if (fs::exists(model)) source.model = load_model(model);
  return source;
}

Source open(const std::string& name) {
  if (fs::is_directory(name)) return open_folder(name);
  if (name.ends_with(".safetensors")) return {name, Source::Kind::model, load_model(name)};
  if (name.ends_with(".jsonl")) return {name, Source::Kind::log};
  Json json = read_json(name);
  if (json.contains("plan") && json.contains("points")) return {name, Source::Kind::curve};
  const Source::Kind kind =
      json.contains("candidates") && json.contains("points") ? Source::Kind::plan : Source::Kind::result;
  PLEAT_CHECK_FILE(kind == Source::Kind::plan || (json.contains("command") && json.contains("version")), name,
                   "is neither a model, a log, a curve.json, a plan nor the result of a command with --json");
  return {name, kind, {}, std::move(json)};
}

// The input that the model was folded from: of those that it may have come from the one with most nodes.
const Model* before(const Model& model, const std::vector<Source>& sources) {
  const Model* best = nullptr;
  for (const Source& source : sources)
    if (source.model && may_come_from(source.model->graph, model.graph) &&
        (best == nullptr || source.model->graph.nodes.size() > best->graph.nodes.size()))
      best = &*source.model;
  return best;
}

std::string model_part(const Source& source, const std::vector<Source>& sources) {
  return name_file_in_errors(source.name, [&] { return model_section(*source.model, before(*source.model, sources)); });
}

ReportPart part(const Source& source, const std::vector<Source>& sources) {
  switch (source.kind) {
    case Source::Kind::curve: {
      const bool folder = fs::is_directory(source.name);
      return {"Accuracy against depth", source.name,
              curve_section(folder ? source.name + "/curve.json" : source.name, folder ? source.name : "")};
    }
    case Source::Kind::run:
      return {"Training run", source.name,
              "<h3>Epochs</h3>\n" + log_section(source.name + "/log.jsonl") +
                  (source.model ? model_part(source, sources) : "<p>No model is saved yet.</p>\n")};
    case Source::Kind::log:
      return {"Training run", source.name, log_section(source.name)};
    case Source::Kind::model:
      return {source.model->notes.contains("fold.mask") ? "Folded network" : "Network", source.name,
              model_part(source, sources)};
    case Source::Kind::plan:
      return {"Plan", source.name, name_file_in_errors(source.name, [&] { return plan_section(source.json); })};
    case Source::Kind::result:
      return {"Result of pleat " + source.json.at("command").get<std::string>(), source.name,
              name_file_in_errors(source.name, [&] { return result_section(source.json); })};
  }
  return {};
}

}  // namespace

std::string make_report(const std::vector<std::string>& inputs) {
  std::vector<Source> sources;
  for (const std::string& input : inputs) sources.push_back(open(input));
  std::vector<ReportPart> parts;
  for (const Source& source : sources) parts.push_back(part(source, sources));
  return page(parts);
}

}  // namespace pleat
