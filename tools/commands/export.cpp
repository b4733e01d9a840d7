// `pleat export MODEL --onnx F` writes the network as an ONNX file for other runtimes.
#include <ostream>

#include "core/file.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/network_options.hpp"
#include "tools/onnx/onnx_export.hpp"
#include "tools/open_model.hpp"

namespace pleat {

int export_command(int argc, char** argv) {
  Cli cli("pleat export",
          "Writes an ONNX file with which other runtimes compute the same outputs. Its input is any number of pictures "
          "[N,C,H,W], normalised as its metadata says; batch norms are merged into the convolutions.",
          "pleat export folded.safetensors --onnx folded.onnx");
  cli.argument("MODEL", "a name from `pleat list` (with random weights) or a model file");
  cli.option("onnx", "FILE", "ONNX file to write");
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const std::string& file = cli.text("onnx");
  check_output(file, {cli.argument("MODEL")});

  const OnnxFile onnx = to_onnx(open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli)));
  write_file(file, onnx.bytes);
  cli.out() << onnx.nodes << " nodes of opset " << onnx.opset << ", " << onnx.bytes.size() << " bytes -> " << file
            << '\n';
  cli.finish({{"nodes", onnx.nodes}, {"opset", onnx.opset}});
  return 0;
}

}  // namespace pleat
