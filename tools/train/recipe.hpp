// How a network is trained: everything that decides the outcome of a run, and nothing else.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ops/exec/exec.hpp"
#include "tools/train/named_model.hpp"
#include "tools/train/schedule.hpp"

namespace pleat {

/// The settings have a row each in for_each_setting, which says what they mean and what values they may have. The other
/// fields say what is trained, on what data and by which kernels.
struct Recipe {
  std::string command = "train";         ///< What kind of training: train, prefold, finetune or distill.
  std::string name = {};                 ///< Of the recipe that the settings come from; empty if there is none.
  std::string model = {}, data = {};     ///< What is trained and on what: names or paths, for the record alone.
  NetworkOptions network = {};           ///< How a model called by name was made; likewise for the record.
  std::string val = {};                  ///< Labelled pictures to test on, where those to train on have no labels.
  std::string class_list = {};           ///< Class list of a picture folder; empty if there is none.
  bool skip_broken = false;              ///< Pass over picture files that cannot be read.
  std::string teacher = {};              ///< The teacher's name or path, for the record; empty if there is none.
  std::vector<std::string> fading = {};  ///< Alphas that go to 1 in the first `fade` epochs (tools/train/fade.hpp).
  double fade = 0;
  bool freeze_norms = false;             ///< Batch norms were merged before the training; for the record.
  std::vector<std::string> freeze = {};  ///< Shell patterns of parameters that keep their values.
  uint64_t seed = 1;
  int threads = 0;  ///< Threads that each rank computes with, for the record: rounding depends on them,
  int ranks = 1;    ///< and on the number of ranks (core/process_group.hpp), among whom each batch is shared out.
  Kernels kernels = Kernels::onednn;
  std::string algorithms = {};  ///< As ExecOptions::algorithms.
  Dtype dtype = Dtype::f32;

  // Settings.
  int64_t epochs = 160, batch = 128;
  double lr = 0.1, muon_lr = 0;
  Schedule::Kind schedule = Schedule::Kind::cosine;
  double warmup = 0;
  bool adam = false;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 5e-4;
  std::optional<double> norm_weight_decay = {};
  double bias_norm_lr = 1;
  double label_smoothing = 0;
  bool alternate_flip = false;
  int64_t cutout = 0;
  double ema = 0;
  double lambda = 0.25, p = 2, lambda_growth = 1;
  double temperature = 4, teacher_weight = 0.7;
  bool sync_norms = false, bf16_wire = false;
  double mix = 0.5;

  bool trains_alphas() const { return command == "prefold"; }
  /// Whether features are learned from the teacher's (feature_part), without labels.
  bool learns_features() const { return command == "distill"; }
};

/// What a setting is for; elsewhere it is recorded as 0.
enum class SettingFor { every_run, alphas, labels, teacher, features };

/// Smallest and largest value of a number; of no meaning for the other types.
struct SettingRange {
  double min = 0, max = 1e6;
};

/// Calls f(name, field, range, what it is for, its description) for each setting of `recipe`. Fields are int64_t,
/// double, bool, Schedule::Kind or, where another setting stands in for what is not given, std::optional<double>. The
/// command line, recipe files and the record in a model file all go through these rows.
template <class Self, class F>
void for_each_setting(Self& recipe, F&& f) {
  using enum SettingFor;
  f("epochs", recipe.epochs, SettingRange{1, 1e6}, every_run, "passes over the training pictures");
  f("batch", recipe.batch, SettingRange{1, 1 << 16}, every_run, "pictures a step");
  f("lr", recipe.lr, SettingRange{}, every_run, "highest learning rate of SGD or Adam");
  f("schedule", recipe.schedule, SettingRange{}, every_run,
    "of the learning rate: cosine, onecycle, linear, rex, step or constant");
  f("warmup", recipe.warmup, SettingRange{}, every_run, "epochs in which the learning rate climbs");
  f("adam", recipe.adam, SettingRange{}, every_run,
    "Adam trains in place of SGD, with a momentum of 0.9 and 0.999 for squares, and decoupled weight decay");
  f("momentum", recipe.momentum, SettingRange{0, 1}, every_run, "of SGD");
  f("nesterov", recipe.nesterov, SettingRange{}, every_run, "Nesterov's momentum");
  f("muon_lr", recipe.muon_lr, SettingRange{}, every_run,
    "highest learning rate of Muon, which then trains the weights of convolutions in place of SGD (0: SGD does)");
  f("weight_decay", recipe.weight_decay, SettingRange{}, every_run, "on weights and biases; alphas never decay");
  f("norm_weight_decay", recipe.norm_weight_decay, SettingRange{}, every_run,
    "on the weights and biases of batch norms (default: as on the others)");
  f("bias_norm_lr", recipe.bias_norm_lr, SettingRange{0.001, 1000}, every_run,
    "learning rate of biases and batch norms as a multiple of the others'; their weight decay stays as it is");
  f("label_smoothing", recipe.label_smoothing, SettingRange{0, 1}, labels, "of the cross entropy, 0 to 1");
  f("alternate_flip", recipe.alternate_flip, SettingRange{}, every_run,
    "mirror each picture in every second epoch instead of at random");
  f("cutout", recipe.cutout, SettingRange{0, 1 << 12}, every_run,
    "side in pixels of a square that is blanked in each training picture (0: none)");
  f("ema", recipe.ema, SettingRange{0, 0.999999}, every_run,
    "decay of a running average of the weights, which is what is evaluated and saved (0: none; 0.999 is usual)");
  f("lambda", recipe.lambda, SettingRange{}, alphas, "weight of the alphas' loss, lambda * sum(1 - alpha^p)");
  f("p", recipe.p, SettingRange{1, 100}, alphas, "exponent in the alphas' loss");
  f("lambda_growth", recipe.lambda_growth, SettingRange{1, 100}, alphas,
    "factor on lambda after each epoch in which no further alpha arrived at 1");
  f("sync_norms", recipe.sync_norms, SettingRange{}, every_run,
    "with several ranks (mpirun): batch norms take their statistics over all of them instead of each over its own");
  f("bf16_wire", recipe.bf16_wire, SettingRange{}, every_run,
    "with several ranks: gradients travel in bfloat16, which halves what the links must carry");
  f("temperature", recipe.temperature, SettingRange{0.01, 1000}, teacher,
    "by which the logits of both networks are divided for the distillation");
  f("teacher_weight", recipe.teacher_weight, SettingRange{0, 1}, teacher,
    "w in loss = (1 - w) * cross entropy + w * distillation");
  f("mix", recipe.mix, SettingRange{0, 1}, features, "part of the batches whose pictures are mixed with each other");
}

/// Whether a setting for `what` means anything to a run of `command` with or without a teacher.
bool applies(SettingFor what, const Recipe& recipe, bool with_teacher);

/// The usual recipe of "train", "prefold", "finetune" or "distill", with num_threads() threads. Throws
/// std::invalid_argument for another command.
Recipe usual_recipe(const std::string& command);

/// Throws std::invalid_argument naming the first setting that is out of its range.
void check_settings(const Recipe& recipe);

/// How an executor trains by this recipe.
ExecOptions training_options(const Recipe& recipe);

/// The settings' values by name: 0 where a setting is for something that the run does not do, and no setting left out.
nlohmann::ordered_json settings(const Recipe& recipe);

/// One entry for each setting and each other field; of the network options, the recipe's name, what fades and several
/// ranks only those that are given.
nlohmann::ordered_json to_json(const Recipe& recipe);

/// The recipe that to_json was given; settings of what the run does not do are as they were recorded.
Recipe recipe_from_json(const nlohmann::ordered_json& json);

}  // namespace pleat
