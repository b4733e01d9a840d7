#include "tools/onnx/onnx_writer.hpp"

#include "core/check.hpp"

namespace pleat {

OnnxWriter::OnnxWriter(const std::string& producer_version, int opset, int ir_version) {
  model_.set_ir_version(ir_version);
  model_.set_producer_name("pleat");
  model_.set_producer_version(producer_version);
  model_.add_opset_import()->set_version(opset);
  model_.mutable_graph()->set_name("pleat");
}

void OnnxWriter::claim(const std::string& name) {
  PLEAT_CHECK(names_.insert(name).second, "export: two values would be called '", name,
              "', expected each name once in an ONNX file");
}

void OnnxWriter::describe(onnx::ValueInfoProto& value, const std::string& name, const std::vector<int64_t>& dims) {
  value.set_name(name);
  auto* tensor = value.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT);
  tensor->mutable_shape()->add_dim()->set_dim_param("N");
  for (const int64_t dim : dims) tensor->mutable_shape()->add_dim()->set_dim_value(dim);
}

void OnnxWriter::input(const std::string& name, const std::vector<int64_t>& dims) {
  claim(name);
  describe(*model_.mutable_graph()->add_input(), name, dims);
}

void OnnxWriter::output(const std::string& name, const std::vector<int64_t>& dims) {
  describe(*model_.mutable_graph()->add_output(), name, dims);
}

std::string OnnxWriter::node(const std::string& name, const std::string& op, const std::vector<std::string>& inputs,
                             const OnnxAttributes& attributes) {
  claim(name);
  onnx::NodeProto* node = model_.mutable_graph()->add_node();
  node->set_name(name);
  node->set_op_type(op);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(name);
  for (const auto& [attribute, value] : attributes)
    std::visit(
        [&, &attribute = attribute](const auto& v) { *node->add_attribute() = onnx::MakeAttribute(attribute, v); },
        value);
  return name;
}

std::string OnnxWriter::constant(const std::string& name, const std::vector<int64_t>& dims,
                                 std::span<const float> values) {
  claim(name);
  onnx::TensorProto* tensor = model_.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t dim : dims) tensor->add_dims(dim);
  tensor->set_raw_data(values.data(), values.size_bytes());
  return name;
}

std::string OnnxWriter::constant(const std::string& name, const std::vector<int64_t>& values) {
  claim(name);
  onnx::TensorProto* tensor = model_.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::INT64);
  tensor->add_dims(static_cast<int64_t>(values.size()));
  for (const int64_t value : values) tensor->add_int64_data(value);
  return name;
}

std::string OnnxWriter::constant(const std::string& name, float value) {
  return constant(name, {}, {&value, 1});
}

std::string OnnxWriter::finish(const std::map<std::string, std::string>& metadata) {
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto* entry = model_.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }
  constexpr std::size_t kMaxBytes = (std::size_t{1} << 31) - 1;
  PLEAT_CHECK(model_.ByteSizeLong() <= kMaxBytes, "export: the ONNX file would have ", model_.ByteSizeLong(),
              " bytes, expected at most ", kMaxBytes);
  return model_.SerializeAsString();
}

}  // namespace pleat
