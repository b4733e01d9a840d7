#include "tools/train/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/hash.hpp"
#include "core/mpi.hpp"
#include "core/progress.hpp"
#include "core/version.hpp"
#include "data/image_folder.hpp"
#include "data/loader.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/train/average.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/evaluate.hpp"
#include "tools/train/fade.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/gradient_exchange.hpp"
#include "tools/train/interrupt.hpp"
#include "tools/train/mix_pictures.hpp"
#include "tools/train/objective.hpp"
#include "tools/train/optimiser.hpp"
#include "tools/train/rank_jobs.hpp"
#include "tools/train/run_folder.hpp"
#include "tools/train/run_log.hpp"
#include "tools/train/schedule.hpp"

namespace pleat {
namespace {

Schedule schedule_of(const Recipe& recipe, int64_t batches) {
  return {.kind = recipe.schedule,
          .lr = recipe.lr,
          .total_steps = recipe.epochs * batches,
          .warmup_steps = std::llround(recipe.warmup * static_cast<double>(batches))};
}

int64_t count_correct(std::span<const float> logits, std::span<const int32_t> labels, int64_t classes) {
  int64_t correct = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto row = logits.subspan(i * classes, classes);
    correct += std::max_element(row.begin(), row.end()) - row.begin() == labels[i];
  }
  return correct;
}

std::string content_hash(const Tensors& tensors) {
  ContentHash hash;
  for (const auto& [name, tensor] : tensors) {
    hash.add(name);
    hash.add(std::as_bytes(std::span(tensor.values)));
  }
  return hash.text();
}

class Run {
 public:
  Run(Model& model, const TrainingData& data, const Recipe& recipe, const std::string& out, const TrainOptions& options)
      : model_(model),
        data_(data),
        recipe_(recipe),
        out_(out),
        options_(options),
        ranks_(world()),
        contents_{.start = content_hash(model.tensors),
                  .data = content_hash(data),
                  .teacher = options.teacher != nullptr ? content_hash(options.teacher->tensors) : ""},
        loader_(data.train, picture_format(model),
                {.batch = recipe.batch / recipe.ranks,
                 .augment = augmentation(data.train, recipe),
                 .shuffle = true,
                 .drop_last = true,
                 .skip_broken = recipe.skip_broken,
                 .seed = recipe.seed,
                 .threads = loader_threads(data.train),
                 .shard = ranks_.rank(),
                 .shards = ranks_.size()}),
        part_(recipe.learns_features() ? std::optional(feature_part(model)) : std::nullopt),
        trained_(part_ ? *part_ : model),
        exec_(trained_.graph, trained_.tensors, exec_options()),
        average_(recipe.ema > 0 ? std::optional<Average>(std::in_place, trained_, recipe.ema) : std::nullopt),
        test_exec_(model.graph, average_ && !part_ ? average_->tensors() : model.tensors,
                   {.batch = kUsualBatch, .kernels = recipe.kernels}),
        classes_(infer_shapes(model.graph).back().c),
        mixer_(part_ ? std::optional<PictureMixer>(std::in_place, recipe.mix, recipe.seed) : std::nullopt),
        optimiser_(trained_, exec_.gradients(), recipe),
        exchange_(ranks_, exchanged_values(), recipe.bf16_wire ? Wire::bf16 : Wire::f32),
        schedule_(schedule_of(recipe, loader_.batches())) {
    if (ranks_.is_first())
      folder_.emplace(out, RunFolderOptions{.resume = options.resume, .overwrite = options.overwrite});
    const Dataset& labelled = part_ ? data.test : data.train;
    PLEAT_CHECK(std::ssize(labelled.classes) == classes_ || (part_ && data.test.size() == 0), "model has ", classes_,
                " outputs, data set '", part_ ? recipe.val : recipe.data, "' has ", labelled.classes.size(), " classes",
                part_ ? "\nhint: --class-list names the class folders in the order of the outputs" : "");
    PLEAT_CHECK(loader_.batches() > 0, "data set '", recipe.data, "' has ", data.train.size(),
                " training pictures, less than one batch of ", recipe.batch);
    objective_.emplace(recipe, model, options.teacher);
    const double fade_steps = recipe.fade * static_cast<double>(loader_.batches());
    if (!recipe.fading.empty()) fade_.emplace(model, recipe.fading, std::llround(fade_steps));
  }

  TrainResult run() {
    begin();
    if (ranks_.is_first()) log_.emplace(path("log.jsonl"), state_.epoch);
    if (options_.observer) options_.observer->begins(state_.epoch);
    watch_for_interrupt();
    while (state_.epoch < recipe_.epochs) {
      train_epoch();
      take_over();
      state_.total_seconds += seconds_of([&] { score_ = evaluate_test(); });
      finish_epoch();
    }
    take_over();
    if (score_.images == 0) score_ = evaluate_test();  // resumed after the last epoch
    if (average_ && !part_) model_.tensors = average_->tensors();
    return {.top1 = score_.top1,
            .test_loss = score_.loss,
            .tested = score_.images > 0,
            .loss = state_.last_loss,
            .images_per_second = static_cast<double>(state_.train_images) / std::max(state_.train_seconds, 1e-9),
            .seconds = state_.total_seconds,
            .broken = broken()};
  }

 private:
  std::string path(const char* file) const { return out_ + "/" + file; }
  RunTensors tensors() {
    return {&trained_.tensors, &optimiser_.velocities(), average_ ? &average_->tensors() : nullptr};
  }
  // Brings what the part has learned into the whole network.
  void take_over() {
    if (!part_) return;
    for (const auto& [name, tensor] : average_ ? average_->tensors() : trained_.tensors)
      std::ranges::copy(tensor.values, model_.tensors.at(name).values.begin());
  }
  void save() {
    if (ranks_.is_first())
      save_checkpoint(path("state.safetensors"), recipe_, contents_, state_, trained_.graph, tensors());
  }

  ExecOptions exec_options() {
    ExecOptions options = training_options(recipe_);
    if (recipe_.sync_norms && ranks_.size() > 1) options.norm_ranks = &ranks_;
    return options;
  }

  // What the ranks average in each step: gradients, and the running statistics of batch norms, so that all ranks have
  // the same parameters after each step, and a checkpoint of the first says all.
  std::vector<ExchangedValues> exchanged_values() {
    std::vector<ExchangedValues> values;
    for (const Parameter& p : parameters(trained_.graph))
      if (trainable(p.role))
        values.push_back({exec_.gradient(p.name), exec_.gradient_group(p)});
      else if (!recipe_.sync_norms)
        values.push_back({trained_.tensors.at(p.name).values, -1});
    return values;
  }

  void begin() {
    if (ranks_.is_first()) take_up_or_start();
    check_same_data();
    ranks_.broadcast(std::as_writable_bytes(std::span(&state_, 1)));
    const RunTensors all = tensors();
    for (Tensors* part : {all.parameters, all.velocities, all.averages})
      if (part != nullptr)
        for (auto& [name, tensor] : *part) ranks_.broadcast(std::as_writable_bytes(std::span(tensor.values)));
    optimiser_.set_lambda(state_.lambda);
    logged_ = {state_.train_seconds, state_.train_images};
  }

  void check_same_data() {
    std::string first = contents_.data;
    ranks_.broadcast(first);
    PLEAT_CHECK(first == contents_.data, "data set '", recipe_.data, "' has other contents on rank ", ranks_.rank(),
                " than on the first\nhint: copy the first one's to each machine");
  }

  // Takes up the run in the folder, or starts a new one.
  void take_up_or_start() {
    const std::string state_path = path("state.safetensors");
    const bool files = !data_.train.files.empty();
    if (options_.resume && has_state(out_)) {
      if (files) check_index(path("pictures.index"), {&data_.train, &data_.test});
      state_ = load_checkpoint(state_path, recipe_, contents_, trained_.graph, tensors());
      if (state_.ranks != recipe_.ranks && !options_.quiet)
        std::fprintf(stderr, "the run had %d ranks and goes on with %d: sums are rounded otherwise from here on\n",
                     state_.ranks, recipe_.ranks);
      return;
    }
    if (options_.overwrite) folder_->clear();
    if (files) write_index(path("pictures.index"), {&data_.train, &data_.test});
    state_.lambda = optimiser_.lambda();
    // A run that is killed in its first epoch can be resumed like any other, and a full disk is known at once.
    save();
  }

  void train_epoch() {
    loader_.start_epoch(state_.epoch, state_.batch);
    Progress progress(concat(recipe_.command, ' ', state_.epoch + 1, '/', recipe_.epochs), "images",
                      loader_.batches() * recipe_.batch, options_.quiet);
    Clock::time_point last = Clock::now();
    while (const Batch* batch = loader_.next()) {
      step(*batch);
      ++state_.batch;
      const double seconds = seconds_since(last);
      last = Clock::now();
      state_.train_seconds += seconds;
      state_.total_seconds += seconds;
      state_.train_images += shared_.size;
      progress.update(state_.batch * recipe_.batch, progress_text());
      if (shared_.interrupted > 0) {
        save();
        throw Interrupted(concat("interrupted in epoch ", state_.epoch + 1, "; the state is in ",
                                 path("state.safetensors"), "\nhint: resume it (the same command with --resume)"));
      }
    }
  }

  const std::string& progress_text() {
    progress_text_ = "loss " + std::to_string(state_.loss_sum / static_cast<double>(std::max<int64_t>(state_.seen, 1)));
    if (options_.observer)
      progress_text_ +=
          "  " + options_.observer->remark(static_cast<double>(step_number()) / static_cast<double>(loader_.batches()));
    return progress_text_;
  }

  // Of the next step, over all epochs.
  int64_t step_number() const { return state_.epoch * loader_.batches() + state_.batch; }

  void step(const Batch& batch) {
    if (fade_) fade_->apply(step_number());
    Batch seen = batch;
    if (mixer_) seen.images = mixer_->mix(batch.images, batch.size, step_number());
    exec_.run(seen.images);
    const double loss = objective_->loss_and_gradient(exec_.output_gradient(), exec_.output(), seen);
    exchange_.begin();
    exec_.backward([&](int group) { exchange_.finished(group); });
    exchange_.end();
    share_counts(seen, loss);
    check_finite(seen);
    optimiser_.step(lr_at(schedule_, step_number()), step_number());
    if (average_) average_->update(step_number());
    state_.loss_sum += shared_.loss;
    state_.seen += shared_.size;
    state_.correct += shared_.correct;
  }

  // What all ranks have counted in this step, so that all of them go the same way.
  void share_counts(const Batch& batch, double loss) {
    double counts[] = {loss * static_cast<double>(batch.size), static_cast<double>(batch.size),
                       part_ ? 0.0 : static_cast<double>(count_correct(exec_.output(), batch.labels, classes_)),
                       interrupted() ? 1.0 : 0.0};
    ranks_.sum(counts);
    shared_ = {.loss = counts[0],
               .size = std::llround(counts[1]),
               .correct = std::llround(counts[2]),
               .interrupted = std::llround(counts[3])};
  }

  void check_finite(const Batch& batch) {
    if (std::isfinite(shared_.loss) && optimiser_.gradients_are_finite()) return;
    const std::string culprit =
        exec_.first_non_finite([&] { objective_->loss_and_gradient(exec_.output_gradient(), exec_.output(), batch); });
    throw std::runtime_error(
        concat("training broke down in epoch ", state_.epoch + 1, ", step ", state_.batch + 1,
               ": the first NaN or Inf came from ", culprit, "\nhint: try a lower learning rate (--lr, now ",
               recipe_.lr, ") or some warm-up (--warmup); ", path("state.safetensors"), " holds the last whole epoch"));
  }

  Score evaluate_test() {
    if (data_.test.size() == 0) return {};
    Progress progress("test", "images", data_.test.size(), options_.quiet);
    const auto logits = [&](std::span<const float> images, int64_t) { return test_exec_.run(images); };
    return evaluate(data_.test, model_, kUsualBatch, recipe_.skip_broken, logits, progress, ranks_);
  }

  std::vector<std::string> broken() const {
    std::vector<std::string> reasons = score_.broken;
    for (const auto& [index, reason] : loader_.broken()) reasons.push_back(reason);
    return reasons;
  }

  EpochRecord record() {
    const double seconds = state_.train_seconds - logged_.seconds;
    const EpochRecord record{.epoch = state_.epoch + 1,
                             .epochs = recipe_.epochs,
                             .lr = lr_at(schedule_, (state_.epoch + 1) * loader_.batches() - 1),
                             .train_loss = state_.loss_sum / static_cast<double>(state_.seen),
                             .train_top1 = static_cast<double>(state_.correct) / static_cast<double>(state_.seen),
                             .test_loss = score_.loss,
                             .test_top1 = score_.top1,
                             .seconds = seconds,
                             .images_per_second = static_cast<double>(state_.train_images - logged_.images) / seconds,
                             .data_wait = loader_.wait_seconds() / seconds,
                             .alphas = optimiser_.alphas(),
                             .classifies = !part_,
                             .tested = score_.images > 0};
    logged_ = {state_.train_seconds, state_.train_images};
    return record;
  }

  void finish_epoch() {
    const EpochRecord line = record();
    const bool best = score_.images > 0 && score_.top1 > state_.best_top1;
    state_.last_loss = line.train_loss;
    ++state_.epoch;
    state_.batch = 0;
    state_.loss_sum = 0;
    state_.correct = state_.seen = 0;
    if (best) state_.best_top1 = score_.top1;
    state_.arrived = optimiser_.adapt_lambda(state_.arrived);
    state_.lambda = optimiser_.lambda();
    note_provenance();
    if (ranks_.is_first()) {
      write_models(best && options_.keep_best);
      log_->append(to_json(line));
    }
    if (options_.observer) options_.observer->finished(line);
    save();  // last: what a resumed run does again, it does in full
    if (!options_.quiet) std::fprintf(stderr, "%s\n", to_text(line).c_str());
  }

  // The weights that were evaluated: the averages where there are any.
  void write_models(bool best) {
    const bool swapped = average_ && !part_;
    if (swapped) std::swap(model_.tensors, average_->tensors());
    save_model(path("model.safetensors"), model_);
    if (best) save_model(path("best.safetensors"), model_);
    if (swapped) std::swap(model_.tensors, average_->tensors());
  }

  // Without times and paths of files written, so that the same run writes the same bytes.
  void note_provenance() {
    model_.notes["command"] = recipe_.command;
    model_.notes["recipe"] = to_json(recipe_).dump();
    model_.notes["epochs_done"] = std::to_string(state_.epoch);
    model_.notes.erase("top1");  // of the weights before
    if (score_.images > 0) model_.notes["top1"] = nlohmann::json(score_.top1).dump();
    model_.notes["pleat"] = kVersion;
    if (model_.classes.empty() && !part_) model_.classes = data_.train.classes;
  }

  Model& model_;
  const TrainingData& data_;
  const Recipe& recipe_;
  const std::string out_;
  const TrainOptions options_;
  ProcessGroup ranks_;
  std::optional<RunFolder> folder_;  // of the first rank, which alone writes
  std::optional<RunLog> log_;
  const RunContents contents_;
  Loader loader_;
  std::optional<Model> part_;  // what learns features, with tensors of its own
  Model& trained_;             // it, or the whole model
  Exec exec_;
  std::optional<Average> average_;
  Exec test_exec_;
  const int64_t classes_;
  std::optional<PictureMixer> mixer_;
  Optimiser optimiser_;
  GradientExchange exchange_;
  std::optional<Objective> objective_;
  std::optional<Fade> fade_;
  const Schedule schedule_;
  RunState state_;
  struct {
    double loss = 0;
    int64_t size = 0, correct = 0, interrupted = 0;
  } shared_;  // of the step in hand, summed over the ranks
  Score score_{};
  struct {
    double seconds = 0;
    int64_t images = 0;
  } logged_;  // training time and pictures that the log's lines already tell of
  std::string progress_text_;
};

}  // namespace

TrainResult run_training(Model& model, const TrainingData& data, const Recipe& recipe, const std::string& out,
                         const TrainOptions& options) {
  check_settings(recipe);
  Recipe shared = recipe;
  shared.ranks = world().size();
  PLEAT_CHECK(recipe.batch % shared.ranks == 0, "batch is ", recipe.batch, ", expected a multiple of the ",
              shared.ranks, " ranks");
  if (shared.ranks > 1 && world().is_first()) send_training_job(shared, model, options.teacher);
  return Run(model, data, shared, out, options).run();
}

}  // namespace pleat
