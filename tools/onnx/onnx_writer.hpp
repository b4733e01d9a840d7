// An ONNX model under construction: operators of one opset, constants, and what the whole takes and gives. The protobuf
// and its helpers are the ONNX project's own (libonnx).
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
  /// Operators are those of `opset`. Other programs ask for the smallest `ir_version` that has it.
  OnnxWriter(const std::string& producer_version, int opset, int ir_version);

  /// The one input or output: float, the first dimension the number of pictures, left open.
  void input(const std::string& name, const std::vector<int64_t>& dims);
  void output(const std::string& name, const std::vector<int64_t>& dims);

  /// An operator called as its one result is; returns that name. Throws std::invalid_argument if another value has it.
  std::string node(const std::string& name, const std::string& op, const std::vector<std::string>& inputs,
                   const OnnxAttributes& attributes = {});

  /// Constants; they return their name.
  std::string constant(const std::string& name, const std::vector<int64_t>& dims, std::span<const float> values);
  std::string constant(const std::string& name, const std::vector<int64_t>& values);
  std::string constant(const std::string& name, float value);  ///< A scalar.

  /// Adds metadata, and returns the file's bytes. Throws std::invalid_argument above protobuf's 2 GB.
  std::string finish(const std::map<std::string, std::string>& metadata);
  int nodes() const { return model_.graph().node_size(); }

 private:
  void claim(const std::string& name);
  static void describe(onnx::ValueInfoProto& value, const std::string& name, const std::vector<int64_t>& dims);

  onnx::ModelProto model_;
  std::set<std::string> names_;  // of values
};

}  // namespace pleat
