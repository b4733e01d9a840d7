// `pleat report` writes one HTML page about runs, experiments, models, plans and results.
#include "tools/report/report.hpp"

#include <ostream>

#include "core/file.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"

namespace pleat {

int report_command(int argc, char** argv) {
  Cli cli("pleat report",
          "Writes one self-contained HTML page: what was done, accuracies, losses and alphas over the epochs, networks "
          "before and after with the merged groups drawn, plans, proofs and latencies. An input is the folder of a "
          "training run or of `pleat curve`, a model file, a log, a plan, or what a command printed with --json.",
          "pleat report runs/curve --out report.html\n"
          "pleat report results/curves/resnet20-cifar10.json --out report.html\n"
          "pleat report runs/base runs/prefold merged.safetensors --out report.html   # merged is drawn beside base\n"
          "pleat report net.safetensors plan.json verify.json bench.json --out report.html   # with results of --json");
  cli.argument("INPUT...", "folders of runs and experiments, or files");
  cli.option("out", "FILE", "HTML file to write");
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");
  const std::string html = make_report(cli.arguments("INPUT..."));
  write_file(file, html);
  cli.out() << html.size() << " bytes -> " << file << "\n";
  cli.finish({{"report", file}, {"bytes", html.size()}});
  return 0;
}

}  // namespace pleat
