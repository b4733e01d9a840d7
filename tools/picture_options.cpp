#include "tools/picture_options.hpp"

#include <algorithm>

namespace pleat {

void declare_view_options(Cli& cli) {
  cli.option("crop", "X",
             "middle part of the shorter side to look at, 0 to 1 (default: the model's; pictures of the network's own "
             "size are "
             "taken whole)");
  cli.option("resize", "N", "the same in pixels: length of the shorter side before the network's input is cut out");
  cli.option("interpolation", "NAME", "bilinear or bicubic, antialiased (default: the model's)");
}

void set_view(const Cli& cli, Model& model) {
  const Input& input = std::get<Input>(model.graph.nodes[0].op);
  if (cli.has("crop") && cli.has("resize")) cli.usage_error("--crop and --resize say the same: expected one of them");
  if (cli.has("crop")) model.crop = cli.number("crop", 0.01, 1);
  const int side = std::max(input.height, input.width);
  if (cli.has("resize"))
    model.crop = static_cast<double>(side) / static_cast<double>(cli.integer("resize", side, 65536));
  if (cli.has("interpolation"))
    model.interpolation = cli.choice("interpolation", {"bilinear", "bicubic"}) == "bicubic" ? Interpolation::bicubic
                                                                                            : Interpolation::bilinear;
}

void declare_folder_options(Cli& cli) {
  cli.option("class-list", "FILE|DIR",
             "for picture folders: names of the class folders in the order of the network's outputs, one a line, or a "
             "folder that holds them all (default: the model's class names, or the sorted folders)");
  cli.option("broken", "refuse|skip", "what to do with picture files that cannot be read", "refuse");
}

bool skips_broken(const Cli& cli) {
  return cli.choice("broken", {"refuse", "skip"}) == "skip";
}

std::string class_list_option(const Cli& cli) {
  return cli.has("class-list") ? cli.text("class-list") : "";
}

}  // namespace pleat
