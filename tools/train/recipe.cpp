#include "tools/train/recipe.hpp"

#include <nlohmann/json.hpp>

#include "core/parallel.hpp"
#include "tools/network_options.hpp"
#include "tools/picture_options.hpp"
#include "tools/tune.hpp"

namespace pleat {

void declare_recipe(Cli& cli, const std::string& command) {
  // PAPER: prefold trains with lr 1e-3 and no schedule for 100 epochs, lambda 0.25, p 2, no weight decay on ResNets.
  struct Defaults {
    const char *epochs, *lr, *schedule, *weight_decay;
  };
  const Defaults usual = command == "train"     ? Defaults{"160", "0.1", "cosine", "0.0005"}
                         : command == "prefold" ? Defaults{"100", "0.001", "constant", "0"}
                                                : Defaults{"60", "0.02", "cosine", "0.0005"};
  cli.accept_bf16();
  cli.argument("MODEL", "name of `pleat list`, or a model file to start from");
  cli.option("data", "NAME|DIR",
             "data set: a name of `pleat list`, or its folder, or one of train/<class>/, val/<class>/ pictures");
  declare_network_options(cli);
  declare_folder_options(cli);
  cli.option("out", "DIR", "folder for model.safetensors, best.safetensors, log.jsonl and state.safetensors");
  cli.option("epochs", "N", "passes over the training pictures", usual.epochs);
  cli.option("batch", "N", "pictures a step", "128");
  cli.option("lr", "X", "highest learning rate", usual.lr);
  cli.option("schedule", "NAME", "of the learning rate: cosine, onecycle, step or constant", usual.schedule);
  cli.option("warmup", "X", "epochs in which the learning rate climbs", "0");
  cli.option("momentum", "X", "of SGD", "0.9");
  cli.flag("nesterov", "Nesterov's momentum");
  cli.option("muon-lr", "X", "highest learning rate of convolutions' weights, by Muon in place of SGD (default: SGD)");
  cli.option("weight-decay", "X", "on weights and biases; alphas have none", usual.weight_decay);
  cli.option("norm-weight-decay", "X", "on batch norm's weights and biases (default: as --weight-decay)");
  cli.option("label-smoothing", "X", "of the cross entropy, 0 to 1", "0");
  if (command == "prefold") {
    cli.option("lambda", "X", "weight of the alpha loss, lambda * sum(1 - alpha^p)", "0.25");
    cli.option("p", "X", "its exponent", "2");
  }
  cli.option("teacher", "MODEL", "model file whose logits are learned as well (distillation)");
  cli.option("temperature", "X", "softening of both networks' logits for the teacher", "4");
  cli.option("teacher-weight", "X", "the teacher's share of the loss, 0 to 1", "0.7");
  declare_tune(cli);
  cli.flag("resume", "go on with the run in --out, bit for bit");
}

Recipe read_recipe(const Cli& cli, const std::string& command) {
  constexpr double kHuge = 1e6;
  Recipe r;
  r.command = command;
  r.model = cli.argument("MODEL");
  r.data = cli.text("data");
  r.network = network_options(cli);
  r.class_list = class_list_option(cli);
  r.skip_broken = skips_broken(cli);
  r.epochs = cli.integer("epochs", 1, 1'000'000);
  r.batch = cli.integer("batch", 1, 1 << 16);
  r.lr = cli.number("lr", 0, kHuge);
  r.schedule = cli.choice("schedule", {"constant", "step", "cosine", "onecycle"});
  r.warmup_epochs = cli.number("warmup", 0, static_cast<double>(r.epochs));
  r.momentum = cli.number("momentum", 0, 1);
  r.nesterov = cli.has("nesterov");
  if (cli.has("muon-lr")) r.muon_lr = cli.number("muon-lr", 0, kHuge);
  r.weight_decay = cli.number("weight-decay", 0, kHuge);
  r.norm_weight_decay = cli.has("norm-weight-decay") ? cli.number("norm-weight-decay", 0, kHuge) : r.weight_decay;
  r.label_smoothing = cli.number("label-smoothing", 0, 1);
  if (command == "prefold") {
    r.lambda = cli.number("lambda", 0, kHuge);
    r.p = cli.number("p", 1, 100);
  }
  if (cli.has("teacher")) {
    r.teacher = cli.text("teacher");
    r.temperature = cli.number("temperature", 0.01, 1000);
    r.teacher_weight = cli.number("teacher-weight", 0, 1);
  }
  r.seed = cli.seed();
  r.threads = num_threads();
  r.kernels = cli.kernels();
  r.dtype = cli.dtype();
  return r;
}

ExecOptions training_options(const Recipe& r) {
  return {.batch = r.batch, .training = true, .kernels = r.kernels, .algorithms = r.algorithms, .dtype = r.dtype};
}

nlohmann::ordered_json to_json(const Recipe& r) {
  nlohmann::ordered_json json = {{"command", r.command},
                                 {"model", r.model},
                                 {"data", r.data},
                                 {"class_list", r.class_list},
                                 {"skip_broken", r.skip_broken},
                                 {"epochs", r.epochs},
                                 {"batch", r.batch},
                                 {"lr", r.lr},
                                 {"schedule", r.schedule},
                                 {"warmup", r.warmup_epochs},
                                 {"momentum", r.momentum},
                                 {"nesterov", r.nesterov},
                                 {"muon_lr", r.muon_lr},
                                 {"weight_decay", r.weight_decay},
                                 {"norm_weight_decay", r.norm_weight_decay},
                                 {"label_smoothing", r.label_smoothing},
                                 {"lambda", r.lambda},
                                 {"p", r.p},
                                 {"teacher", r.teacher},
                                 {"temperature", r.temperature},
                                 {"teacher_weight", r.teacher_weight},
                                 {"seed", r.seed},
                                 {"threads", r.threads},
                                 {"kernels", r.kernels == Kernels::onednn ? "onednn" : "native"},
                                 {"algorithms", r.algorithms},
                                 {"dtype", to_string(r.dtype)}};
  if (r.network.width) json["width"] = *r.network.width;
  if (r.network.classes) json["classes"] = *r.network.classes;
  if (r.network.input_size) json["input_size"] = *r.network.input_size;
  return json;
}

}  // namespace pleat
