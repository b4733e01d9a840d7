#include "tools/train/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/progress.hpp"
#include "data/image_folder.hpp"
#include "data/loader.hpp"
#include "fold/alpha_loss.hpp"
#include "ops/loss/cross_entropy.hpp"
#include "ops/loss/distillation.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tools/picture_options.hpp"
#include "tools/train/checkpoint.hpp"
#include "tools/train/evaluate.hpp"
#include "tools/train/interrupt.hpp"
#include "tools/train/muon.hpp"
#include "tools/train/run_log.hpp"
#include "tools/train/sgd.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

// One thing that a step changes.
struct Trained {
  std::string name;
  bool is_alpha, by_muon;
  double weight_decay;
  Tensor *value, *velocity;
  const Tensor* gradient;
};

// The teacher's logits for the pictures of a training step.
class Teacher {
 public:
  Teacher(const Recipe& recipe, const Model& student)
      : model_(load_model(recipe.teacher)),
        exec_(model_.graph, model_.tensors, {.batch = recipe.batch, .kernels = recipe.kernels, .dtype = recipe.dtype}) {
    PLEAT_CHECK_FILE(model_.mean == student.mean && model_.std == student.std, recipe.teacher,
                     "the teacher normalises its input otherwise than the model that learns from it");
    const auto input = std::get<Input>(model_.graph.nodes[0].op);
    PLEAT_CHECK_FILE(input == std::get<Input>(student.graph.nodes[0].op), recipe.teacher,
                     "the teacher takes other pictures: ", to_text(model_.graph, 0));
  }
  std::span<const float> logits(std::span<const float> images) { return exec_.run(images); }

 private:
  Model model_;
  Exec exec_;
};

class Run {
 public:
  Run(Model& model, const Recipe& recipe, const std::string& out, bool quiet)
      : model_(model),
        recipe_(recipe),
        out_(out),
        quiet_(quiet),
        train_(load_dataset_for(model, recipe.data, Split::train, recipe.class_list, quiet)),
        test_(load_dataset_for(model, recipe.data, Split::test, recipe.class_list, quiet)),
        loader_(train_, picture_format(model),
                {.batch = recipe.batch,
                 .augment = augmentation(),
                 .shuffle = true,
                 .drop_last = true,
                 .skip_broken = recipe.skip_broken,
                 .seed = recipe.seed,
                 .threads = loader_threads(train_)}),
        exec_(model.graph, model.tensors, training_options(recipe)),
        test_exec_(model.graph, model.tensors, {.batch = kUsualBatch, .kernels = recipe.kernels}),
        classes_(exec_.shape(model.graph.output()).c) {
    PLEAT_CHECK(static_cast<int64_t>(train_.classes.size()) == classes_, "model has ", classes_, " outputs, data set '",
                recipe.data, "' has ", train_.classes.size(), " classes");
    PLEAT_CHECK(loader_.batches() > 0, "data set '", recipe.data, "' has ", train_.size(),
                " training pictures, less than one batch of ", recipe.batch);
    if (!recipe.teacher.empty()) teacher_.emplace(recipe, model);
    for (const Parameter& p : parameters(model.graph)) add_trained(p);
    std::vector<MuonWeight> by_muon;
    for (const Trained& t : trained_)
      if (t.by_muon) by_muon.push_back({t.value, t.gradient, t.velocity});
    if (!by_muon.empty()) muon_.emplace(std::move(by_muon));
    schedule_ = {.kind = parse_schedule_kind(recipe.schedule),
                 .lr = recipe.lr,
                 .total_steps = recipe.epochs * loader_.batches(),
                 .warmup_steps = std::llround(recipe.warmup_epochs * static_cast<double>(loader_.batches()))};
    distillation_gradient_.resize(recipe.batch * classes_);
  }

  TrainResult run(bool resume) {
    std::filesystem::create_directories(out_);
    const std::string state_path = path("state.safetensors");
    const bool files = !train_.files.empty();
    if (resume && std::filesystem::exists(state_path)) {
      if (files) check_index(path("pictures.index"), {&train_, &test_});
      state_ = load_checkpoint(state_path, recipe_, model_, velocities_);
      seconds_logged_ = state_.train_seconds;  // the log's rates are of this session's part of an epoch
      images_logged_ = state_.train_images;
    } else {
      PLEAT_CHECK_FILE(resume || !is_unfinished(state_path), out_,
                       "holds a run that has not finished\nhint: --resume goes on with it; or choose another --out");
      if (files) write_index(path("pictures.index"), {&train_, &test_});
      save();  // so that a run killed in its first epoch resumes like any other, and a full disk is known at once
    }
    RunLog log(path("log.jsonl"), state_.epoch);
    watch_for_interrupt();
    while (state_.epoch < recipe_.epochs) {
      train_epoch();
      const Clock::time_point start = Clock::now();
      score_ = evaluate_test();
      state_.total_seconds += seconds_since(start);
      finish_epoch(log);
    }
    if (score_.images == 0) score_ = evaluate_test();  // resumed after the last epoch
    return {.top1 = score_.top1,
            .test_loss = score_.loss,
            .loss = state_.last_loss,
            .images_per_second = static_cast<double>(state_.train_images) / std::max(state_.train_seconds, 1e-9),
            .seconds = state_.total_seconds,
            .broken = broken()};
  }

 private:
  std::optional<Augment> augmentation() const {
    if (!train_.files.empty()) return Augment{.resized_crop = true};
    // Digits and letters are not the same mirrored; everything else is.
    return Augment{.crop_pad = train_.height >= 32 ? 4 : 2, .flip = train_.name != "mnist" && train_.name != "idx"};
  }
  std::string path(const char* file) const { return out_ + "/" + file; }
  void save() const { save_checkpoint(path("state.safetensors"), recipe_, state_, model_, velocities_); }

  void add_trained(const Parameter& p) {
    const bool is_alpha = p.role == Role::alpha, is_norm = p.role == Role::norm_weight || p.role == Role::norm_bias;
    if (!trainable(p.role) || (is_alpha && !recipe_.trains_alphas())) return;
    Tensor& velocity = velocities_.try_emplace(p.name, p.shape).first->second;
    const double decay = is_alpha ? 0 : is_norm ? recipe_.norm_weight_decay : recipe_.weight_decay;
    // Each row of a depthwise convolution's is a filter of its own channel: nothing to make orthogonal.
    const bool by_muon = recipe_.muon_lr > 0 && p.role == Role::weight && p.shape.size() == 4 && p.shape[1] > 1;
    trained_.push_back(
        {p.name, is_alpha, by_muon, decay, &model_.tensors.at(p.name), &velocity, &exec_.gradients().at(p.name)});
  }

  void train_epoch() {
    loader_.start_epoch(state_.epoch, state_.batch);
    Progress progress(concat(recipe_.command, ' ', state_.epoch + 1, '/', recipe_.epochs), "images",
                      loader_.batches() * recipe_.batch, quiet_);
    Clock::time_point last = Clock::now();
    while (const Batch* batch = loader_.next()) {
      step(*batch);
      ++state_.batch;
      const double took = seconds_since(last);
      last = Clock::now();
      state_.train_seconds += took;
      state_.total_seconds += took;
      state_.train_images += batch->size;
      progress.update(state_.batch * recipe_.batch, progress_text());
      if (interrupted()) {
        save();
        throw Interrupted(concat("interrupted in epoch ", state_.epoch + 1, "; the state is in ",
                                 path("state.safetensors"), "\nhint: the same command with --resume goes on"));
      }
    }
  }

  const std::string& progress_text() {
    progress_text_ = "loss " + std::to_string(state_.loss_sum / static_cast<double>(std::max<int64_t>(state_.seen, 1)));
    return progress_text_;
  }

  // The loss of the logits now in exec_, and its gradient into exec_.output_gradient().
  double loss_and_gradient(const Batch& batch) {
    const std::span<const float> logits = exec_.output();
    double loss = cross_entropy_forward<float>(logits, batch.labels, classes_, recipe_.label_smoothing);
    const std::span<float> gradient = exec_.output_gradient();
    cross_entropy_backward<float>(gradient, logits, batch.labels, classes_, recipe_.label_smoothing);
    if (teacher_) {
      const double w = recipe_.teacher_weight, t = recipe_.temperature;
      const std::span<const float> wanted = teacher_->logits(batch.images);
      loss = (1 - w) * loss + w * distillation_forward<float>(logits, wanted, classes_, t);
      distillation_backward<float>(distillation_gradient_, logits, wanted, classes_, t);
      for (std::size_t i = 0; i < gradient.size(); ++i)
        gradient[i] = static_cast<float>((1 - w) * gradient[i] + w * distillation_gradient_[i]);
    }
    return loss;
  }

  void step(const Batch& batch) {
    exec_.run(batch.images);
    const double loss = loss_and_gradient(batch);
    exec_.backward();
    check_finite(loss, batch);
    const double lr = lr_at(schedule_, state_.epoch * loader_.batches() + state_.batch);
    for (Trained& t : trained_)
      if (!t.by_muon) update(t, lr);
    // On the same schedule; weights decay as SGD's do.
    if (muon_) muon_->step(recipe_.lr > 0 ? recipe_.muon_lr * lr / recipe_.lr : 0, lr * recipe_.weight_decay, sgd_);
    state_.loss_sum += loss * static_cast<double>(batch.size);
    state_.seen += batch.size;
    state_.correct += count_correct(exec_.output(), batch.labels);
  }

  void update(Trained& t, double lr) {
    if (!t.is_alpha) {
      sgd_step(t.value->values, t.gradient->values, t.velocity->values, lr, t.weight_decay, sgd_);
      return;
    }
    float& alpha = t.value->values[0];
    if (alpha >= 1) return;  // arrived: frozen, the activation is the identity from here on
    float gradient = t.gradient->values[0];
    alpha_loss_gradient({&gradient, 1}, {&alpha, 1}, recipe_.lambda, recipe_.p);
    sgd_step({&alpha, 1}, {&gradient, 1}, t.velocity->values, lr, 0, sgd_);
    alpha = std::clamp(alpha, 0.0f, 1.0f);
  }

  void check_finite(double loss, const Batch& batch) {
    const auto finite = [](const Trained& t) {
      return std::all_of(t.gradient->values.begin(), t.gradient->values.end(),
                         [](float v) { return std::isfinite(v); });
    };
    if (std::isfinite(loss) && std::all_of(trained_.begin(), trained_.end(), finite)) return;
    const std::string culprit = exec_.first_non_finite([&] { loss_and_gradient(batch); });
    throw std::runtime_error(concat("training broke down in epoch ", state_.epoch + 1, ", step ", state_.batch + 1,
                                    ": the first NaN or Inf came from ", culprit, "\nhint: a lower --lr (now ",
                                    recipe_.lr, ") or some --warmup; ", path("state.safetensors"),
                                    " holds the last whole epoch"));
  }

  int64_t count_correct(std::span<const float> logits, std::span<const int32_t> labels) const {
    int64_t correct = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const auto row = logits.subspan(i * classes_, classes_);
      correct += std::max_element(row.begin(), row.end()) - row.begin() == labels[i];
    }
    return correct;
  }

  Score evaluate_test() {
    Progress progress("test", "images", test_.size(), quiet_);
    const auto logits = [&](std::span<const float> images, int64_t) { return test_exec_.run(images); };
    return evaluate(test_, model_, kUsualBatch, recipe_.skip_broken, logits, progress);
  }

  // Files that this session has passed over, with the reasons.
  std::vector<std::string> broken() const {
    std::vector<std::string> reasons = score_.broken;
    for (const auto& [index, reason] : loader_.broken()) reasons.push_back(reason);
    return reasons;
  }

  void finish_epoch(RunLog& log) {
    state_.last_loss = state_.loss_sum / static_cast<double>(state_.seen);
    const double train_top1 = static_cast<double>(state_.correct) / static_cast<double>(state_.seen);
    const double epoch_seconds = state_.train_seconds - seconds_logged_;
    Json line = {{"epoch", state_.epoch + 1},
                 {"lr", lr_at(schedule_, (state_.epoch + 1) * loader_.batches() - 1)},
                 {"train_loss", state_.last_loss},
                 {"train_top1", train_top1},
                 {"test_loss", score_.loss},
                 {"test_top1", score_.top1},
                 {"seconds", epoch_seconds},
                 {"images_per_second", static_cast<double>(state_.train_images - images_logged_) / epoch_seconds},
                 {"data_wait", loader_.wait_seconds() / epoch_seconds}};
    if (recipe_.trains_alphas())
      for (const Trained& t : trained_)
        if (t.is_alpha) line["alphas"][t.name] = t.value->values[0];
    seconds_logged_ = state_.train_seconds;
    images_logged_ = state_.train_images;

    const bool best = score_.top1 > state_.best_top1;
    ++state_.epoch;
    state_.batch = 0;
    state_.loss_sum = 0;
    state_.correct = state_.seen = 0;
    state_.best_top1 = std::max(state_.best_top1, score_.top1);
    write_notes();
    save_model(path("model.safetensors"), model_);
    if (best) save_model(path("best.safetensors"), model_);
    log.append(line);
    save();  // last: what a resumed run does again, it does in full
    if (!quiet_) report(line);
  }

  // Provenance without times and paths, so that the same run writes the same bytes.
  void write_notes() {
    Json recipe = to_json(recipe_);
    model_.notes["command"] = recipe_.command;
    model_.notes["recipe"] = recipe.dump();
    model_.notes["epochs_done"] = std::to_string(state_.epoch);
    model_.notes["top1"] = Json(score_.top1).dump();
    model_.notes["pleat"] = kVersion;
    if (model_.classes.empty()) model_.classes = train_.classes;
  }

  void report(const Json& line) const {
    std::fprintf(
        stderr, "epoch %lld/%lld  lr %.4g  train loss %.4f top-1 %.2f%%  test loss %.4f top-1 %.2f%%  %.0f images/s\n",
        static_cast<long long>(state_.epoch), static_cast<long long>(recipe_.epochs), line["lr"].get<double>(),
        line["train_loss"].get<double>(), 100 * line["train_top1"].get<double>(), line["test_loss"].get<double>(),
        100 * line["test_top1"].get<double>(), line["images_per_second"].get<double>());
  }

  Model& model_;
  const Recipe& recipe_;
  const std::string out_;
  const bool quiet_;
  const Dataset train_, test_;
  Loader loader_;
  Exec exec_, test_exec_;
  const int64_t classes_;
  std::optional<Teacher> teacher_;
  Tensors velocities_;
  std::vector<Trained> trained_;
  const SgdOptions sgd_{.momentum = recipe_.momentum, .nesterov = recipe_.nesterov};
  std::optional<Muon> muon_;
  Schedule schedule_;
  RunState state_;
  Score score_{};
  std::vector<float> distillation_gradient_;
  double seconds_logged_ = 0;
  int64_t images_logged_ = 0;
  std::string progress_text_;
};

}  // namespace

TrainResult run_training(Model& model, const Recipe& recipe, const std::string& out, bool resume, bool quiet) {
  return Run(model, recipe, out, quiet).run(resume);
}

}  // namespace pleat
