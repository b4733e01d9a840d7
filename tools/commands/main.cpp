// The program `pleat`: finds the command in a table and runs it.
#include <chrono>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/check.hpp"
#include "core/did_you_mean.hpp"
#include "core/mpi.hpp"
#include "core/parallel.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/train/rank_jobs.hpp"

namespace {

struct Command {
  const char* name;
  const char* about;
  int (*run)(int argc, char** argv);
};

constexpr Command kCommands[] = {
    {"train", "train a network from scratch or from a file", pleat::train_command},
    {"prefold", "train weights and alphas so that activations can be dropped", pleat::prefold_command},
    {"fold", "drop activations and merge convolutions", pleat::fold_command},
    {"finetune", "train a folded network", pleat::finetune_command},
    {"distill", "train a folded network by its teacher's features, without labels", pleat::distill_command},
    {"calibrate", "estimate the statistics of batch norms anew", pleat::calibrate_command},
    {"shrink", "make a network faster with pictures without labels, in one command", pleat::shrink_command},
    {"curve", "run the whole experiment of accuracy against depth", pleat::curve_command},
    {"report", "write a page about runs, curves, models, plans and results", pleat::report_command},
    {"plan", "choose what to drop and merge by the latency on this machine", pleat::plan_command},
    {"eval", "measure the accuracy on a data set", pleat::eval_command},
    {"verify", "compare the outputs of two models", pleat::verify_command},
    {"inspect", "print a model's graph, sizes and alphas", pleat::inspect_command},
    {"bench", "measure the latency of models on this machine", pleat::bench_command},
    {"predict", "classify pictures", pleat::predict_command},
    {"import", "turn a PyTorch state_dict (safetensors) into a model", pleat::import_command},
    {"export", "write a model as an ONNX file for other runtimes", pleat::export_command},
    {"data", "download or describe a data set", pleat::data_command},
    {"list", "print the names of networks and data sets", pleat::list_command},
    {"doctor", "check this machine and this build", pleat::doctor_command},
};

void print_help() {
  std::cout << "Pleat " << pleat::kVersion << ": train deep, fold, run shallow.\n\nusage: pleat COMMAND [options]\n\n";
  for (const Command& command : kCommands)
    std::cout << "  " << command.name << std::string(12 - std::strlen(command.name), ' ') << command.about << '\n';
  std::cout << "\n`pleat COMMAND --help` shows a command's options and examples.\n";
}

int run(int argc, char** argv) {
  if (argc < 2) throw pleat::UsageError("missing command\nhint: see `pleat --help`");
  const std::string name = argv[1];
  if (name == "--help" || name == "-h") return print_help(), 0;
  if (name == "--version") return std::cout << "pleat " << pleat::kVersion << '\n', 0;
  std::vector<std::string> known;
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run(argc - 1, argv + 1);
    known.emplace_back(command.name);
  }
  throw pleat::UsageError("unknown command '" + name + "'" + pleat::did_you_mean(name, known) +
                          "\nhint: see `pleat --help`");
}

// What goes wrong on all ranks is told by the first, before the others would.
void work_quietly() {
  try {
    pleat::work_for_first_rank();
  } catch (const std::exception& error) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    throw std::runtime_error(pleat::concat("rank ", pleat::world().rank(), ": ", error.what()));
  }
}

// Under `mpirun`: the first rank runs the command, and the others help it.
int run_rank(int argc, char** argv) {
  const bool first = pleat::world().is_first();
  pleat::set_num_threads(pleat::default_threads_of_rank());
  const int code = pleat::run_command([&] {
    if (first) return run(argc, argv);
    work_quietly();
    return 0;
  });
  if (code != 0 && code != 130) pleat::world().abort(code);
  if (first) pleat::dismiss_ranks();
  pleat::leave_world();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  return pleat::run_command([&] { return pleat::world().size() > 1 ? run_rank(argc, argv) : run(argc, argv); });
}
