// `pleat calibrate MODEL --data PICTURES --out F` estimates the statistics of batch norms anew.
#include "tools/train/calibrate.hpp"

#include <ostream>

#include "core/file.hpp"
#include "data/dataset_for.hpp"
#include "ops/model_file.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/picture_options.hpp"

namespace pleat {

int calibrate_command(int argc, char** argv) {
  Cli cli("pleat calibrate",
          "Estimates the means and variances of a network's batch norms anew, on pictures without labels. Its weights "
          "stay as they are.",
          "pleat calibrate net.safetensors --data PICTURES --out calibrated.safetensors");
  cli.argument("MODEL", "model file");
  cli.option("data", "NAME|DIR", "pictures, in any folders; labels are not looked at");
  cli.option("pictures", "N", "number of these pictures, in whole batches", "1000");
  cli.option("batch", "N", "pictures a batch, by which each norm normalises", "50");
  cli.option("broken", "refuse|skip", "what to do with picture files that cannot be read", "refuse");
  cli.option("out", "FILE", "model file to write");
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("out");
  check_output(file, {cli.argument("MODEL")});
  Model model = load_model(cli.argument("MODEL"));
  const Dataset data = load_unlabelled(cli.text("data"));
  print_warning(data, cli.quiet());
  const int64_t images = calibrate(model, data,
                                   {.pictures = cli.integer("pictures", 1),
                                    .batch = cli.integer("batch", 2, 1 << 16),
                                    .seed = cli.seed(),
                                    .skip_broken = skips_broken(cli),
                                    .quiet = cli.quiet()});
  model.notes["calibrated"] = std::to_string(images);
  model.notes.erase("top1");  // of the statistics before
  save_model(file, model);
  cli.out() << "statistics of batch norms from " << images << " pictures -> " << file << '\n';
  cli.finish({{"images", images}});
  return 0;
}

}  // namespace pleat
