#include "fold/rewrite.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// The padding after the value: the same as before it if the slack allows that, for symmetric padding looks usual.
int after(const AxisPadding& axis) {
  return std::clamp(axis.before, axis.after, axis.after + axis.slack);
}

Padding padding(const AxisPadding& rows, const AxisPadding& columns) {
  return {rows.before, columns.before, after(rows), after(columns)};
}

// Sets the op's padding; false if it cannot have this one.
bool carry(Op& op, const Padding& pad) {
  const bool crops = std::min({pad.top, pad.left, pad.bottom, pad.right}) < 0;
  return visit_op(Overloaded{
                      [&]<TakesPadding Kind>(Kind& one) {
                        const bool can = !crops || kOpTraits<Kind>.crops;
                        one.pad = can ? pad : Padding{};
                        return can;
                      },
                      [&](auto&) { return pad == Padding{}; },
                  },
                  op);
}

// The padding along one axis with which an op of this kernel gives `outputs` positions from `inputs`.
AxisPadding axis_padding(const Offsets& offsets, int kernel, int stride, int64_t inputs, int64_t outputs) {
  const int64_t last =
      stride * (outputs - 1) + offsets.lo + kernel - 1;  // the last input position that the last output position reads
  return {-offsets.lo, static_cast<int>(last - (inputs - 1)), stride - 1};
}

}  // namespace

Rewrite::Rewrite(const Model& from) : from_(from), index_(from.graph.nodes.size(), -1) {}

void Rewrite::copy(int i) {
  const Node& node = from_.graph.nodes.at(i);
  std::vector<int> inputs;
  for (const int input : node.inputs) inputs.push_back(index_.at(input));
  index_.at(i) = graph_.add(node.name, node.op, std::move(inputs));
}

int Rewrite::add(std::string name, Op op, std::vector<int> inputs) {
  return graph_.add(std::move(name), std::move(op), std::move(inputs));
}

std::string Rewrite::unused(std::string name) const {
  while (find(from_.graph, name) >= 0 || find(graph_, name) >= 0) name += '_';
  return name;
}

int Rewrite::padded(const std::string& reader, int input, int channels, const AxisPadding& rows,
                    const AxisPadding& columns) {
  const Padding pad = padding(rows, columns);
  if (pad == Padding{}) return input;
  pads_.push_back(add(reader + ".pad", Shortcut{.out = channels, .stride = 1, .pad = pad}, {input}));
  return pads_.back();
}

int Rewrite::add_padded(std::string name, Op op, int input, int channels, const AxisPadding& rows,
                        const AxisPadding& columns) {
  if (!carry(op, padding(rows, columns))) input = padded(name, input, channels, rows, columns);
  return add(std::move(name), std::move(op), {input});
}

int Rewrite::add_window(std::string name, Op op, int input, const MapShape& map, const Nhwc& x, const Nhwc& y) {
  const int kernel = map.kernel();
  return add_padded(std::move(name), std::move(op), input, map.in, axis_padding(map.rows, kernel, map.stride, x.h, y.h),
                    axis_padding(map.columns, kernel, map.stride, x.w, y.w));
}

Model Rewrite::finish() {
  // The names of the Shortcuts that pad must be unique, but only now is it known which of the old names are still in
  // use.
  for (auto pad = pads_.rbegin(); pad != pads_.rend(); ++pad) {
    std::string& name = graph_.nodes[*pad].name;
    const auto same = [&](const Node& node) { return node.name == name; };
    while (std::count_if(graph_.nodes.begin(), graph_.nodes.end(), same) > 1) name += '_';
  }
  Model model = from_;
  model.graph = graph_;
  model.tensors.clear();
  for (const Parameter& parameter : parameters(graph_)) {
    const auto fresh = fresh_.find(parameter.name);
    model.tensors[parameter.name] = fresh == fresh_.end() ? from_.tensors.at(parameter.name) : fresh->second;
  }
  verify(model.graph, model.tensors);
  return model;
}

Model rewrite_groups(const Model& model, const std::vector<Region>& groups,
                     const std::function<void(Rewrite&, const Region&)>& replace) {
  std::vector<const Region*> group_of(model.graph.nodes.size());
  for (const Region& group : groups)
    for (const int i : group.nodes) group_of[i] = &group;
  Rewrite rewrite(model);
  for (int i = 0; i <= model.graph.output(); ++i) {
    if (!group_of[i])
      rewrite.copy(i);
    else if (group_of[i]->to == i)
      replace(rewrite, *group_of[i]);
  }
  return rewrite.finish();
}

Model cut_after(const Model& model, int last) {
  std::vector<bool> needed(model.graph.nodes.size());
  needed.at(last) = true;
  Rewrite rewrite(model);
  for (int i = last; i >= 0; --i)
    for (const int input : model.graph.nodes[i].inputs) needed[input] = needed[input] || needed[i];
  for (int i = 0; i <= last; ++i)
    if (needed[i]) rewrite.copy(i);
  Model part = rewrite.finish();
  part.classes.clear();
  return part;
}

}  // namespace pleat
