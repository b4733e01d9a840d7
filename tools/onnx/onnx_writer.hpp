// Builds an ONNX model node by node: inputs and outputs, operators of one opset, constants and metadata. The protobuf
// classes and their helpers come from the ONNX project (libonnx); no other file uses them.
#pragma once

#include <onnx/defs/attr_proto_util.h>
#include <onnx/onnx_pb.h>

#include <map>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace pleat {

using OnnxAttributes = std::vector<std::pair<std::string, std::variant<int64_t, float, std::vector<int64_t>>>>;

class OnnxWriter {
 public:
  /// `opset` is the version of the operator set. `ir_version` should be the smallest that has this opset, because other
  /// programs refuse versions newer than their own.
  OnnxWriter(const std::string& producer_version, int opset, int ir_version);

  /// Adds the model's only input or output, of floats. Before `dims` it has a dimension N, the number of pictures,
  /// which is left open.
  void input(const std::string& name, const std::vector<int64_t>& dims);
  void output(const std::string& name, const std::vector<int64_t>& dims);

  /// Adds an operator whose only output has the operator's name; returns that name. Throws std::invalid_argument if
  /// another value has this name.
  std::string node(const std::string& name, const std::string& op, const std::vector<std::string>& inputs,
                   const OnnxAttributes& attributes = {});

  /// Adds a constant and returns its name.
  std::string constant(const std::string& name, const std::vector<int64_t>& dims, std::span<const float> values);
  std::string constant(const std::string& name, const std::vector<int64_t>& values);
  std::string constant(const std::string& name, float value);  ///< A scalar.

  /// Adds the metadata and returns the bytes of the file. Throws std::invalid_argument if they exceed protobuf's 2 GB.
  std::string finish(const std::map<std::string, std::string>& metadata);
  int nodes() const { return model_.graph().node_size(); }

 private:
  void claim(const std::string& name);
  static void describe(onnx::ValueInfoProto& value, const std::string& name, const std::vector<int64_t>& dims);

  onnx::ModelProto model_;
  std::set<std::string> names_;  // of values
};

}  // namespace pleat
