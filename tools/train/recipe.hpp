// How a network is trained: everything that decides the outcome of a run, and nothing else.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ops/exec/exec.hpp"
#include "tools/cli.hpp"
#include "tools/open_model.hpp"
#include "tools/train/schedule.hpp"

namespace pleat {

struct Recipe {
  std::string command;  ///< train, prefold or finetune.
  std::string model, data;
  NetworkOptions network;    ///< Of a model called by name.
  std::string class_list;    ///< Of a picture folder, or empty.
  bool skip_broken = false;  ///< Pass over picture files that cannot be read.
  int64_t epochs = 0, batch = 0;
  double lr = 0, momentum = 0, weight_decay = 0;
  double norm_weight_decay = 0;  ///< On batch norm's weight and bias; alphas have none.
  bool nesterov = false;
  double muon_lr = 0;  ///< Of convolutions' weights, by Muon (tools/train/muon.hpp); 0: they are SGD's like all others.
  std::string schedule;
  double warmup_epochs = 0;
  double label_smoothing = 0;
  double lambda = 0, p = 0;  ///< Alpha loss lambda * sum(1 - a^p); lambda and the alphas' training in prefold alone.
  std::string teacher;       ///< Model file or empty; loss = (1 - w) * cross entropy + w * distillation.
  double temperature = 0, teacher_weight = 0;
  uint64_t seed = 0;
  int threads = 0;
  Kernels kernels = Kernels::onednn;
  std::string algorithms;  ///< As ExecOptions::algorithms: what --tune found.
  Dtype dtype = Dtype::f32;

  bool trains_alphas() const { return command == "prefold"; }
};

/// Declares the options of `command`, whose defaults are that command's usual recipe.
void declare_recipe(Cli& cli, const std::string& command);

/// Reads them, but for `algorithms`. Throws UsageError for values out of range.
Recipe read_recipe(const Cli& cli, const std::string& command);

/// How an executor trains by it.
ExecOptions training_options(const Recipe& recipe);

/// One entry a field; of `network` those given.
nlohmann::ordered_json to_json(const Recipe& recipe);

}  // namespace pleat
