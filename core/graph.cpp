#include "core/graph.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <sstream>
#include <unordered_map>

#include "core/check.hpp"
#include "core/did_you_mean.hpp"
#include "core/op_traits.hpp"

namespace pleat {
namespace {

constexpr std::size_t kMaxNodes = 10'000;  // far above any network; what takes quadratic time is still fast for it
constexpr std::size_t kMaxName = 256;
constexpr std::size_t kMaxLine = 4096;  // room for four names and all attributes
constexpr int kMaxAttribute = 1 << 20;  // for channels, kernels, sizes: far above any network, far below overflow
constexpr int kMaxWindow = 1024;  // for kernel and stride: their squares and the product of two stay far below overflow

// These print the value of one attribute.
std::string print(int value) {
  return std::to_string(value);
}
std::string print(bool value) {
  return value ? "1" : "0";
}
std::string print(const std::string& value) {
  return value;
}
std::string print(Nonlinearity value) {
  return row(value).name;
}
std::string print(double value) {
  std::array<char, 32> digits;  // the shortest text that reads back to the same double
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}
std::string print(const Padding& p) {
  if (p == Padding::uniform(p.top)) return print(p.top);
  return concat(p.top, ',', p.left, ',', p.bottom, ',', p.right);
}

// These read the value of one attribute. They return false if `text` is none.
template <class Number>
bool read_number(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}
bool read(const std::string& text, int& value) {
  return read_number(text, value);
}
bool read(const std::string& text, double& value) {
  return read_number(text, value);
}
bool read(const std::string& text, bool& value) {
  value = text == "1";
  return text == "0" || text == "1";
}
bool read(const std::string& text, std::string& value) {
  value = text;
  return true;
}
bool read(const std::string& text, Nonlinearity& value) {
  const auto found = std::find_if(kNonlinearities.begin(), kNonlinearities.end(),
                                  [&](const NonlinearityRow& each) { return each.name == text; });
  if (found == kNonlinearities.end()) return false;
  value = found->s;
  return true;
}
bool read(const std::string& text, Padding& value) {
  std::array<int, 4> sides;
  std::size_t n = 0, begin = 0;
  for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find(',', begin);
    if (n == sides.size() || !read(text.substr(begin, end - begin), sides[n++])) return false;
  }
  if (n == 1) value = Padding::uniform(sides[0]);
  if (n == 4) value = {sides[0], sides[1], sides[2], sides[3]};
  return n == 1 || n == 4;
}

// Makes the op whose kind is called `name`, with default attributes. Returns false if there is no such kind.
template <std::size_t I = 0>
bool make_op(const std::string& name, Op& op) {
  if constexpr (I == std::variant_size_v<Op>) {
    return false;
  } else {
    using Kind = std::variant_alternative_t<I, Op>;
    if (name != Kind::kind) return make_op<I + 1>(name, op);
    op = Kind{};
    return true;
  }
}

template <std::size_t... I>
std::vector<std::string> op_kinds(std::index_sequence<I...>) {
  return {std::variant_alternative_t<I, Op>::kind...};
}

Node parse_node(const std::string& line, int number, const std::unordered_map<std::string, int>& known) {
  std::istringstream words(line);
  std::string word;
  Node node;
  words >> word;
  PLEAT_CHECK(make_op(word, node.op), "graph line ", number, ": unknown op '", word, "'",
              did_you_mean(word, op_kinds(std::make_index_sequence<std::variant_size_v<Op>>())));
  PLEAT_CHECK(words >> node.name, "graph line ", number, ": the node's name is missing");
  bool attributes = false;
  if (words >> word) {
    PLEAT_CHECK(word == "<-" || word == ":", "graph line ", number, ": got '", word, "', expected '<-' or ':'");
    attributes = word == ":";
  }
  while (!attributes && words >> word) {
    attributes = word == ":";
    if (attributes) break;
    const auto input = known.find(word);
    PLEAT_CHECK(input != known.end(), "graph line ", number, ": '", node.name, "' reads '", word,
                "', which no earlier line defines");
    node.inputs.push_back(input->second);
  }
  std::set<std::string> seen;
  while (words >> word) {
    const std::size_t equals = word.find('=');
    PLEAT_CHECK(equals != std::string::npos, "graph line ", number, ": got '", word, "', expected name=value");
    const std::string key = word.substr(0, equals), text = word.substr(equals + 1);
    bool found = false, good = false;
    std::visit(
        [&](auto& op) {
          op.fields(op, [&](const char* name, auto& value) {
            if (key == name) found = true, good = read(text, value);
          });
        },
        node.op);
    PLEAT_CHECK(found, "graph line ", number, ": ", kind(node.op), " has no attribute '", key, "'");
    PLEAT_CHECK(good, "graph line ", number, ": ", kind(node.op), " '", node.name, "': bad value '", word, "'");
    PLEAT_CHECK(seen.insert(key).second, "graph line ", number, ": '", key, "' stands twice");
  }
  return node;
}

// These check the range of an attribute. A name means the same in every op.
void check_attribute(const Node& node, const std::string& name, int value) {
  const int most = name == "kernel" || name == "stride" ? kMaxWindow : kMaxAttribute;
  PLEAT_CHECK(value >= 1 && value <= most, kind(node.op), " '", node.name, "': ", name, " is ", value,
              ", expected 1 to ", most);
}
void check_attribute(const Node& node, const std::string& name, const Padding& pad) {
  const int least = traits(node.op).crops && name == "pad" ? -kMaxAttribute : 0;
  for (int side : {pad.top, pad.left, pad.bottom, pad.right})
    PLEAT_CHECK(side >= least && side <= kMaxAttribute, kind(node.op), " '", node.name, "': ", name, " is ", side,
                ", expected ", least, " to ", kMaxAttribute);
}
void check_attribute(const Node& node, const std::string& name, double value) {
  PLEAT_CHECK(value >= 0 && value <= 1, kind(node.op), " '", node.name, "': ", name, " is ", value,
              ", expected 0 to 1");
}
void check_attribute(const Node&, const std::string&, bool) {}
void check_attribute(const Node&, const std::string&, Nonlinearity) {}
void check_attribute(const Node& node, const std::string& name, const std::string& value) {
  for (char c : value)
    PLEAT_CHECK(c > ' ' && c < 127, kind(node.op), ": a node's ", name, " has a blank or unprintable character");
  PLEAT_CHECK(value.size() <= kMaxName, kind(node.op), ": a node's ", name, " has ", value.size(),
              " characters, expected at most ", kMaxName);
}

}  // namespace

int Graph::add(std::string name, Op op, std::vector<int> inputs) {
  nodes.push_back({std::move(name), std::move(op), std::move(inputs)});
  return output();
}

const char* kind(const Op& op) {
  return std::visit([](const auto& o) { return o.kind; }, op);
}

int find(const Graph& graph, const std::string& name) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (graph.nodes[i].name == name) return static_cast<int>(i);
  return -1;
}

std::vector<std::vector<int>> consumers(const Graph& graph) {
  std::vector<std::vector<int>> readers(graph.nodes.size());
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    for (int input : graph.nodes[i].inputs) readers[input].push_back(static_cast<int>(i));
  return readers;
}

std::string to_text(const Graph& graph, int index) {
  const Node& node = graph.nodes[index];
  std::string line = concat(kind(node.op), ' ', node.name);
  for (std::size_t i = 0; i < node.inputs.size(); ++i) line += (i ? " " : " <- ") + graph.nodes[node.inputs[i]].name;
  const char* separator = " : ";
  std::visit(
      [&](const auto& op) {
        op.fields(op, [&](const char* name, const auto& value) {
          line += concat(separator, name, '=', print(value));
          separator = " ";
        });
      },
      node.op);
  return line;
}

std::string to_text(const Graph& graph) {
  std::string text;
  for (int i = 0; i <= graph.output(); ++i) text += to_text(graph, i) + '\n';
  return text;
}

Graph parse_graph(const std::string& text) {
  Graph graph;
  std::unordered_map<std::string, int> known;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    PLEAT_CHECK(graph.nodes.size() < kMaxNodes, "graph: more than ", kMaxNodes, " lines");
    // A message that quotes a line shall be one short line itself.
    PLEAT_CHECK(line.size() <= kMaxLine, "graph line ", number, ": ", line.size(), " characters, expected at most ",
                kMaxLine);
    PLEAT_CHECK(std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c < 127; }), "graph line ",
                number, ": an unprintable character");
    graph.nodes.push_back(parse_node(line, number, known));
    PLEAT_CHECK(known.emplace(graph.nodes.back().name, graph.output()).second, "graph line ", number,
                ": a second node is called '", graph.nodes.back().name, "'");
  }
  verify_structure(graph);
  return graph;
}

void verify_structure(const Graph& graph) {
  PLEAT_CHECK(!graph.nodes.empty() && std::holds_alternative<Input>(graph.nodes[0].op),
              "graph: the first node must be the input");
  PLEAT_CHECK(graph.nodes.size() <= kMaxNodes, "graph: ", graph.nodes.size(), " nodes, expected at most ", kMaxNodes);
  std::set<std::string> names;
  for (int i = 0; i <= graph.output(); ++i) {
    const Node& node = graph.nodes[i];
    check_attribute(node, "name", node.name);
    PLEAT_CHECK(!node.name.empty() && node.name.find(':') == std::string::npos && node.name != "<-", "graph: node ", i,
                " has a bad name '", node.name, "'");
    PLEAT_CHECK(names.insert(node.name).second, "graph: two nodes are called '", node.name, "'");
    PLEAT_CHECK(i == 0 || !std::holds_alternative<Input>(node.op), "graph: a second input '", node.name, "'");
    const int arity = std::visit([](const auto& op) { return op.arity; }, node.op);
    PLEAT_CHECK(static_cast<int>(node.inputs.size()) == arity, kind(node.op), " '", node.name,
                "': ", node.inputs.size(), " inputs, expected ", arity);
    for (int input : node.inputs)
      PLEAT_CHECK(input >= 0 && input < i, kind(node.op), " '", node.name, "': reads node ", input,
                  ", which is not earlier");
    std::visit(
        [&](const auto& op) {
          op.fields(op, [&](const char* name, const auto& value) { check_attribute(node, name, value); });
        },
        node.op);
  }
  const auto readers = consumers(graph);
  for (int i = 0; i < graph.output(); ++i)
    PLEAT_CHECK(!readers[i].empty(), kind(graph.nodes[i].op), " '", graph.nodes[i].name,
                "': nobody reads it and it is not the output");
}

}  // namespace pleat
