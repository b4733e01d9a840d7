// ONNX files: every row of op_cases passes the checker of the ONNX project and has the shapes that Pleat infers; names
// and metadata are right. Whether the files compute the same numbers is tested by tools/scripts/check_onnx.sh, which
// runs them.
#include <doctest/doctest.h>
#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>

#include <cstdlib>

#include "core/check.hpp"
#include "core/safetensors.hpp"
#include "fold/fold.hpp"
#include "models/models.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/fold_models.hpp"
#include "tests/op_cases.hpp"
#include "tests/run.hpp"
#include "tools/onnx/onnx_export.hpp"
#include "tools/onnx/onnx_writer.hpp"

using namespace pleat;
using namespace pleat::testing;

namespace {

// Networks besides the rows of op_cases: values in another form than their reader needs, and a border correction that
// is the same for every picture.
constexpr const char* kGraphs[] = {
    "global_avg_pool g <- x\nlinear l <- g : out=4\nalpha_act a <- l : s=relu6 alpha=s\nlinear y <- a : out=3",
    "flatten f <- x\nconv2d c <- f : out=4 kernel=1 bias=1\nbatch_norm y <- c",
    "flatten f <- x\nbatch_norm b <- f\nlinear l <- b : out=3\nadd y <- l l",
    "global_avg_pool g <- x\nlinear l <- g : out=3\nadd y <- g l",
    "alpha_act a <- x : s=relu\nadd y <- a x",
    "conv2d c <- x : out=4 kernel=3 pad=1\nborder_conv2d b <- x : out=4 kernel=3 pad=1 ring=1\nadd y <- c b",
    "border_conv2d b <- x : out=4 kernel=3 pad=1 ring=1\nadd s <- b b\nmax_pool2d y <- s : kernel=3 stride=2 pad=1",
    "avg_pool2d y <- x : kernel=2 stride=1 pad=2",
};

std::vector<Model> small_models() {
  std::vector<Graph> graphs;
  for (const OpCase& c : small_cases()) graphs.push_back(graph_of(c));
  for (const char* text : kGraphs)
    graphs.push_back(parse_graph(concat("input x : channels=3 height=7 width=6\n", text, '\n')));
  std::vector<Model> models;
  for (const Graph& graph : graphs) {
    models.push_back(real_numbers(graph, models.size()));
    Rng rng(models.size());
    for (const Parameter& p : parameters(graph))
      if (p.role == Role::bias)
        for (float& value : models.back().tensors[p.name].values) value = static_cast<float>(rng.normal());
    const int channels = std::get<Input>(graph.nodes[0].op).channels;
    models.back().mean.assign(channels, 0.5f), models.back().std.assign(channels, 0.25f);
  }
  return models;
}

onnx::ModelProto parse(const OnnxFile& file) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(file.bytes));
  return model;
}

std::string metadata_of(const onnx::ModelProto& model, const std::string& key) {
  for (const auto& entry : model.metadata_props())
    if (entry.key() == key) return entry.value();
  return "none";
}

}  // namespace

TEST_CASE("onnx: every op passes ONNX's checker and has the right shape") {
  const char* folder = std::getenv("PLEAT_ONNX_MODELS");  // tools/scripts/check_onnx.sh sets this to get the files
  int written = 0;
  for (const Model& model : small_models()) {
    CAPTURE(to_text(model.graph));
    onnx::ModelProto onnx = parse(to_onnx(model));
    CHECK_NOTHROW(onnx::checker::check_model(onnx));
    auto& value = *onnx.mutable_graph()->mutable_output(0);
    const auto declared = value.type().tensor_type().shape();
    value.mutable_type()->mutable_tensor_type()->clear_shape();
    REQUIRE_NOTHROW(onnx::shape_inference::InferShapes(onnx));
    const auto& inferred = onnx.graph().output(0).type().tensor_type().shape();
    CHECK(inferred.dim_size() == declared.dim_size());
    const Nhwc y = infer_shapes(model.graph).back();
    int64_t elements = 1;
    for (int i = 1; i < inferred.dim_size(); ++i) {
      CHECK(inferred.dim(i).dim_value() == declared.dim(i).dim_value());
      elements *= inferred.dim(i).dim_value();
    }
    CHECK(elements == y.size());
    if (folder) save_model(concat(folder, "/op", written++, ".safetensors"), model);
  }
}

TEST_CASE("onnx: names, constants and metadata are those of the model") {
  Model model = real_numbers(make_model("resnet20", Input{3, 32, 32}, 10), 3);
  model.mean = {0.5f, 0.25f, 0.125f}, model.std = {1, 2, 3};
  for (int c = 0; c < 10; ++c) model.classes.push_back(concat("class ", c));
  model.notes["seed"] = "7";
  const OnnxFile file = to_onnx(model);
  const onnx::ModelProto onnx = parse(file);
  CHECK(onnx.graph().node_size() == file.nodes);
  CHECK(onnx.opset_import(0).version() == file.opset);
  CHECK(onnx.producer_name() == "pleat");
  CHECK(onnx.graph().input(0).name() == "input");
  CHECK(onnx.graph().input(0).type().tensor_type().shape().dim(0).dim_param() == "N");
  CHECK(onnx.graph().output(0).name() == "linear");
  CHECK(metadata_of(onnx, "pleat.mean") == "0.5,0.25,0.125");
  CHECK(metadata_of(onnx, "pleat.classes").starts_with("class 0\nclass 1\n"));
  CHECK(metadata_of(onnx, "seed") == "7");
  std::set<std::string> constants;
  for (const auto& tensor : onnx.graph().initializer()) constants.insert(tensor.name());
  for (const char* name : {"conv1.weight", "conv1.bias", "layer3.2.conv2.weight", "linear.weight", "linear.bias"})
    CHECK(constants.contains(name));
  for (const auto& node : onnx.graph().node()) CHECK(node.op_type() != "BatchNormalization");
}

TEST_CASE("onnx: two values with the same name are refused") {
  Model model = real_numbers(parse_graph("input x : channels=3 height=4 width=4\nalpha_act c.weight <- x : s=relu\n"
                                         "conv2d c <- c.weight : out=2\n"),
                             1);
  model.mean.assign(3, 0), model.std.assign(3, 1);
  CHECK(holds(error_of<std::invalid_argument>([&] { to_onnx(model); }), "'c.weight'"));
}

TEST_CASE("onnx: the command line exports a model") {
  const TempDir dir;
  const Result r = shell(dir, "\"$PLEAT\" export resnet20 --onnx net.onnx --json");
  nlohmann::json json = r.json();
  CHECK(r.code == 0);
  CHECK(json["command"] == "export");
  CHECK(json["opset"] == 13);
  onnx::ModelProto onnx;
  REQUIRE(onnx.ParseFromString(slurp(dir.path("net.onnx"))));
  CHECK(onnx.graph().node_size() == json["nodes"]);
  check_failure(shell(dir, "\"$PLEAT\" export resnet20"), 2, {"--onnx"});
  check_failure(shell(dir, "\"$PLEAT\" export absent.safetensors --onnx a.onnx"), 1, {"absent.safetensors"});
  check_failure(shell(dir, "\"$PLEAT\" export resnet20 --onnx absent/a.onnx"), 1, {"absent/a.onnx"});
  check_failure(shell(dir, "\"$PLEAT\" export resnet20 --onnx /dev/full"), 1, {"/dev/full"});
}

TEST_CASE("predict: computes outputs for a tensor, in PyTorch's order") {
  const TempDir dir;
  Model model = real_numbers(parse_graph("input x : channels=3 height=5 width=4\nconv2d c <- x : out=4 kernel=3 pad=1\n"
                                         "flatten f <- c\nlinear y <- f : out=6\n"),
                             1);
  model.mean.assign(3, 0), model.std.assign(3, 1);
  save_model(dir.path("m.safetensors"), model);
  Tensor input({3, 3, 5, 4});
  Values nhwc(input.values.size());
  Rng rng(2);
  for (int n = 0; n < 3; ++n)
    for (int c = 0; c < 3; ++c)
      for (int p = 0; p < 20; ++p)
        nhwc[(n * 20 + p) * 3 + c] = input.values[(n * 3 + c) * 20 + p] = static_cast<float>(rng.normal());
  save_safetensors(dir.path("in.safetensors"), {{"input", input}}, {});
  const std::string predict = "\"$PLEAT\" predict m.safetensors ";
  const Result r = shell(dir, predict + "--input in.safetensors --output out.safetensors --json");
  CAPTURE(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["images"] == 3);
  const Tensor output = load_safetensors(dir.path("out.safetensors")).tensors.at("output");
  CHECK(output.shape == std::vector<int64_t>{3, 6});
  const Values expected = run(model, nhwc, 3);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(output.values[i] == doctest::Approx(expected[i]).epsilon(1e-5));

  check_failure(shell(dir, predict + "--input m.safetensors --output o"), 1, {"m.safetensors", "no tensor 'input'"});
  save_safetensors(dir.path("in.safetensors"), {{"input", Tensor({3, 5, 4, 3})}}, {});
  check_failure(shell(dir, predict + "--input in.safetensors --output o"), 1,
                {"in.safetensors", "[3, 5, 4, 3]", "[N, 3, 5, 4]"});
  check_failure(shell(dir, predict + "--input in.safetensors"), 2, {"--output"});
  check_failure(shell(dir, predict), 2, {"PICTURE"});
  CHECK_FALSE(std::filesystem::exists(dir.path("o")));
}
