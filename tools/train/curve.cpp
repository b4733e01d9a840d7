#include "tools/train/curve.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/file_lock.hpp"
#include "core/version.hpp"
#include "fold/fold.hpp"
#include "fold/latency_plan.hpp"
#include "fold/mask.hpp"
#include "ops/conv/tune_training.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/compare_models.hpp"
#include "tools/train/curve_file.hpp"
#include "tools/train/curve_outlook.hpp"
#include "tools/train/curve_plan.hpp"
#include "tools/train/evaluate.hpp"
#include "tools/train/interrupt.hpp"
#include "tools/train/trainer.hpp"
#include "tools/train/training_speed.hpp"

namespace pleat {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Part = CurveOutlook::Part;

constexpr int kUsualDepths = 10;
constexpr int64_t kProofBatch = 100;
// Merging adds in another order: what rounding makes of that is far below this part of the logits' range.
constexpr double kProofLimit = 1e-3;
constexpr int kWarmupSteps = 2, kTimedSteps = 5;
constexpr double kTimingSeconds = 30;  // about what the stopwatch and the engine's tuning take at each depth

// Sizes of a network, for the record; `form` tells those of the kept form from the merged one's.
void add_sizes(Json& entry, const Graph& graph, const std::string& form = "") {
  entry["convs" + form] = conv_count(graph);
  entry["macs" + form] = macs(graph);
  entry["params" + form] = parameter_count(graph);
}

class Experiment {
 public:
  Experiment(const Model& model, const CurveOptions& options, const std::string& out)
      : start_(model),
        options_(options),
        out_(out),
        data_(load_training_data(model, options.base, options.quiet)),
        lock_(fs::exists(path("curve.json")) ? std::optional<FileLock>(std::in_place, path("lock"), FileLock::Wait::no)
                                             : std::nullopt),
        file_(path("curve.json"), asked()) {
    if (file_.json()["plan"].is_null()) plan();
    const Json& plan = file_.json()["plan"];
    depths_ = plan["depths"].get<std::vector<int>>();
    epochs_ = {.base = plan["base"], .prefold = plan["prefold"], .depth = plan["depth"]};
    outlook_.emplace(epochs_, std::ssize(depths_), path("log.jsonl"), options.quiet);
  }

  Json run() {
    base();
    prefold();
    for (std::size_t i = 0; i < depths_.size(); ++i) depth(i);
    return file_.json();
  }

 private:
  std::string path(const std::string& name) const { return out_ + "/" + name; }

  // What makes this experiment another one than those in other folders.
  Json asked() const {
    Json settings;
    for (const Recipe* recipe : {&options_.base, &options_.prefold, &options_.finetune})
      settings[recipe->command] = to_json(*recipe);
    return {{"network", options_.network},
            {"data", options_.base.data},
            {"seed", options_.base.seed},
            {"trained", options_.trained},
            {"graph", fingerprint(start_.graph)},
            {"asked_depths", options_.depths},
            {"budget", options_.budget},
            {"fade", options_.fade},
            {"settings", settings}};
  }

  // Fixes depths and epochs, and makes the folder.
  void plan() {
    const int full = pleat::depth(start_.graph), least = full - static_cast<int>(foldable_activations(start_).size());
    std::vector<int> depths = options_.depths;
    for (const int depth : depths)
      PLEAT_CHECK(depth >= least && depth < full, "curve: the network cannot have depth ", depth, ", expected ", least,
                  " to ", full - 1);
    std::ranges::sort(depths, std::greater());
    depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
    const int smallest = std::max(least, smallest_depth(options_.network, options_.base.data, full));
    if (depths.empty()) depths = spaced_depths(full, smallest, kUsualDepths);
    PLEAT_CHECK(!depths.empty(), "curve: the network has no activation that can be folded");
    CurveEpochs epochs{.base = options_.trained ? 0 : options_.base.epochs,
                       .prefold = options_.prefold.epochs,
                       .depth = options_.finetune.epochs};
    if (options_.budget > 0)
      epochs = fit_budget(epochs, measure_costs(), options_.budget, !options_.depths.empty(), depths);
    PLEAT_CHECK_FILE(is_free(out_), out_,
                     "holds something else than a curve\nhint: choose an empty or new folder (--out)");
    fs::create_directories(out_);
    if (!lock_) lock_.emplace(path("lock"), FileLock::Wait::no);
    PLEAT_CHECK_FILE(is_free(out_), out_, "another experiment began here meanwhile");
    file_.set("plan",
              {{"depths", depths}, {"base", epochs.base}, {"prefold", epochs.prefold}, {"depth", epochs.depth}});
  }

  // Absent or empty, but for the lock and what a killed first write of curve.json may have left.
  static bool is_free(const std::string& folder) {
    if (!fs::exists(folder)) return true;
    return std::ranges::all_of(fs::directory_iterator(folder), [](const fs::directory_entry& entry) {
      const std::string name = entry.path().filename();
      return name == "lock" || name.starts_with("curve.json.tmp.");
    });
  }

  CurveCosts measure_costs() const {
    const Recipe& recipe = options_.base;
    std::vector<double> steps = time_training(start_, training_options(recipe), kWarmupSteps, kTimedSteps);
    std::ranges::nth_element(steps, steps.begin() + kTimedSteps / 2);
    const double picture = steps[kTimedSteps / 2] / static_cast<double>(recipe.batch), forward = picture / 3;
    const auto train = static_cast<double>(data_.train.size()), test = static_cast<double>(data_.test.size());
    const double epoch = train * picture + test * forward;
    return {.epoch = epoch, .depth_epoch = epoch + train * forward, .depth_rest = 2 * test * forward + kTimingSeconds};
  }

  // `recipe` for training `name` with the planned number of epochs; what is counted in epochs keeps its part of them.
  // Each part of the experiment draws random numbers of its own, `part` seeds further.
  static Recipe planned(Recipe recipe, int64_t epochs, const std::string& name, int part) {
    recipe.seed += part;
    recipe.warmup *= static_cast<double>(epochs) / static_cast<double>(recipe.epochs);
    recipe.epochs = epochs;
    recipe.model = name;
    return recipe;
  }

  std::string algorithms(const Graph& graph, const Recipe& recipe) const {
    if (!options_.tune) return training_algorithms(graph, training_options(recipe));
    std::optional<Progress> progress;
    return tune_training(graph, training_options(recipe), [&](int64_t done, int64_t total) {
      if (!progress) progress.emplace("timing convolutions", "convolutions", total, options_.quiet);
      progress->update(done);
    });
  }

  // Trains in the folder `name`, from its beginning or on from where it was stopped.
  TrainResult train(Model& model, Recipe recipe, Part part, const std::string& name, const Model* teacher) {
    const std::string folder = path(name), state = folder + "/state.safetensors";
    recipe.algorithms = fs::exists(state) ? saved_algorithms(state, recipe) : algorithms(model.graph, recipe);
    outlook_->next(part, name);
    const TrainResult result = run_training(
        model, data_, recipe, folder,
        {.resume = true, .quiet = options_.quiet, .keep_best = false, .teacher = teacher, .observer = &*outlook_});
    // From the file, because a run that was stopped after its last epoch only reads its tensors again.
    model = load_model(folder + "/model.safetensors");
    return result;
  }

  // A finished part needs no state any more.
  void finished(Part part, const Json& entry, const std::string& folder) {
    outlook_->done(part, entry["seconds"]);
    fs::remove(path(folder) + "/state.safetensors");
  }

  void base() {
    if (file_.json()["base"].is_null()) {
      base_ = start_;
      const TrainResult result =
          options_.trained
              ? given_base()
              : train(base_, planned(options_.base, epochs_.base, options_.network, 0), Part::base, "base", nullptr);
      Json entry = {{"depth", pleat::depth(base_.graph)},
                    {"top1", result.top1},
                    {"epochs", epochs_.base},
                    {"seconds", result.seconds},
                    {"model", "base/model.safetensors"},
                    {"pleat", kVersion}};
      add_sizes(entry, base_.graph);
      file_.set("base", entry);
    }
    finished(Part::base, file_.json()["base"], "base");
    base_ = load_model(path("base/model.safetensors"));
    if (options_.trained)
      PLEAT_CHECK_FILE(std::ranges::equal(base_.tensors, start_.tensors, same_tensor), options_.network,
                       "is not the model that the experiment in ", out_, " began with");
  }

  static bool same_tensor(const Tensors::value_type& a, const Tensors::value_type& b) {
    return a.first == b.first && a.second.shape == b.second.shape && a.second.values == b.second.values;
  }

  TrainResult given_base() {
    fs::create_directories(path("base"));
    if (base_.classes.empty()) base_.classes = data_.train.classes;
    save_model(path("base/model.safetensors"), base_);
    Exec exec(base_.graph, base_.tensors, {.batch = kUsualBatch, .kernels = options_.base.kernels});
    Progress progress("test", "images", data_.test.size(), options_.quiet);
    const Clock::time_point start = Clock::now();
    const Score score = evaluate(
        data_.test, base_, kUsualBatch, options_.base.skip_broken,
        [&](std::span<const float> images, int64_t) { return exec.run(images); }, progress);
    return {.top1 = score.top1, .test_loss = score.loss, .seconds = seconds_since(start)};
  }

  void prefold() {
    if (file_.json()["prefold"].is_null()) {
      Model model = base_;
      const TrainResult result =
          train(model, planned(options_.prefold, epochs_.prefold, "base", 1), Part::prefold, "prefold", nullptr);
      Json alphas;
      for (const Foldable& activation : foldable_activations(model)) alphas[activation.alpha] = activation.value;
      file_.set("prefold", {{"top1", result.top1},
                            {"epochs", epochs_.prefold},
                            {"seconds", result.seconds},
                            {"alphas", alphas},
                            {"model", "prefold/model.safetensors"},
                            {"pleat", kVersion}});
    }
    finished(Part::prefold, file_.json()["prefold"], "prefold");
  }

  void depth(std::size_t i) {
    const std::string name = concat("depth-", depths_[i]);
    if (file_.json()["points"].size() <= i) {
      const std::string before = i == 0 ? "prefold" : concat("depth-", depths_[i - 1]);
      const Model from = load_model(path(before) + (i == 0 ? "/model.safetensors" : "/kept.safetensors"));
      const Folded folded = fold(from, {.depth = depths_[i], .merge = FoldOptions::Merge::none});
      Model model = options_.fade > 0 ? restore_activations(folded.model, from) : folded.model;
      Recipe recipe = planned(options_.finetune, epochs_.depth, before, 1 + depths_[i]);
      recipe.teacher = "base";
      recipe.fade = options_.fade * static_cast<double>(recipe.epochs);
      recipe.fading = missing_alphas(model, folded.model);
      const TrainResult result = train(model, recipe, Part::depth, name, &base_);
      file_.add_point(point(i, name, drop_alphas(model, recipe.fading), result));
    }
    finished(Part::depth, file_.json()["points"][i], name);
    fs::remove(path(name) + "/model.safetensors");  // the kept form is what is left of it
  }

  // Alphas of `all` that `left` lacks.
  static std::vector<std::string> missing_alphas(const Model& all, const Model& left) {
    std::vector<std::string> missing;
    for (const Foldable& activation : foldable_activations(all))
      if (!left.tensors.contains(activation.alpha)) missing.push_back(activation.alpha);
    return missing;
  }

  static Model drop_alphas(const Model& model, const std::vector<std::string>& alphas) {
    std::string mask;
    for (const Foldable& activation : foldable_activations(model))
      mask += std::ranges::find(alphas, activation.alpha) == alphas.end() ? '#' : '.';
    return drop_activations(model, mask);
  }

  // Merges, proves and times what was trained, and writes both forms.
  Json point(std::size_t i, const std::string& name, const Model& kept, const TrainResult& result) {
    const Model merged = fold(kept, {}).model;
    save_model(path(name) + "/kept.safetensors", kept);
    save_model(path(name) + "/merged.safetensors", merged);
    Comparison comparison(kept, merged, kProofBatch, options_.base.kernels);
    {
      Progress progress(concat("verify ", name), "images", data_.test.size(), options_.quiet);
      comparison.add(data_.test, progress);
    }
    const Proof& proof = comparison.proof();
    PLEAT_CHECK_FILE(proof.max_rel_diff() <= kProofLimit, path(name),
                     "merging changed the network: its logits differ by ", proof.max_rel_diff(),
                     " of their range, expected at most ", kProofLimit);
    const Model* forms[] = {&base_, &kept, &merged};
    const std::vector<double> seconds = options_.stopwatch(3, [&](int form) { return *forms[form]; });
    if (interrupted()) throw Interrupted(concat("interrupted at ", name, "; what it was trained is kept"));
    Json entry = {{"depth", depths_[i]},
                  {"mask", kept.notes.at("fold.mask")},
                  {"top1", result.top1},
                  {"latency_ms", 1e3 * seconds[2]},
                  {"latency_ms_base", 1e3 * seconds[0]},
                  {"latency_ms_kept", 1e3 * seconds[1]},
                  {"max_rel_diff", proof.max_rel_diff()},
                  {"same_top1", proof.same_top1()},
                  {"epochs", epochs_.depth},
                  {"seconds", result.seconds},
                  {"seed", options_.base.seed},
                  {"kept", name + "/kept.safetensors"},
                  {"merged", name + "/merged.safetensors"},
                  {"pleat", kVersion}};
    add_sizes(entry, merged.graph);
    add_sizes(entry, kept.graph, "_kept");
    return entry;
  }

  const Model& start_;
  const CurveOptions& options_;
  const std::string out_;
  const TrainingData data_;
  std::optional<FileLock> lock_;
  CurveFile file_;
  std::vector<int> depths_;
  CurveEpochs epochs_;
  std::optional<CurveOutlook> outlook_;
  Model base_;
};

}  // namespace

nlohmann::ordered_json run_curve(const Model& model, const CurveOptions& options, const std::string& out) {
  return Experiment(model, options, out).run();
}

}  // namespace pleat
