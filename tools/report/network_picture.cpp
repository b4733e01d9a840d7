#include "tools/report/network_picture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "core/check.hpp"
#include "tools/report/html.hpp"
#include "tools/report/network_layout.hpp"

namespace pleat {
namespace {

// A line of the picture: the network before at kBefore, the one after at kAfter below its top.
constexpr double kBefore = 50, kAfter = 128, kFoldedHeight = 186, kPlainHeight = 84;
constexpr double kHalf = 11;  // half the height of a box
struct Colour {
  const char *light, *dark;
};
constexpr std::array<Colour, 6> kColours = {{{"#cfe3f5", "#0072b2"},
                                             {"#fbdcc7", "#d55e00"},
                                             {"#cdeadf", "#009e73"},
                                             {"#f3dbe8", "#b04f8a"},
                                             {"#fdeec4", "#b58100"},
                                             {"#dcd9f2", "#5b4fb0"}}};

std::string tooltip(const std::string& text) {
  return "<title>" + html_text(text) + "</title>";
}

class Picture {
 public:
  explicit Picture(const FoldedNetwork& network)
      : network_(network),
        layout_(lay_out(network)),
        folded_(!network.dropped.empty() || !network.groups.empty()),
        height_(folded_ ? kFoldedHeight : kPlainHeight) {}

  std::string svg() const {
    const double width = std::max(layout_.width, 400.0), height = layout_.lines * height_;
    std::string result = concat("<svg class='network' viewBox='0 0 ", width, ' ', height,
                                "' style='max-width:", std::lround(width), "px' role='img' aria-label='network'>\n");
    for (std::size_t g = 0; g < layout_.groups.size(); ++g) result += group(g);
    result += before();
    if (folded_) result += after();
    return result + "</svg>\n";
  }

 private:
  double y(const PlacedOp& op, double below) const { return op.line * height_ + below; }

  // The middle of the op that a group becomes: under its convolutions.
  double middle(std::size_t g) const {
    const NetworkLayout::Group& extent = layout_.groups[g];
    return (layout_.ops[extent.first].x + layout_.ops[extent.last].x) / 2;
  }

  // The group's place among the ops before, and the beam to what it becomes.
  std::string group(std::size_t g) const {
    const PlacedOp &first = layout_.ops[layout_.groups[g].first], &last = layout_.ops[layout_.groups[g].last];
    const double left = first.x - first.glyph.width / 2 - 4, right = last.x + last.glyph.width / 2 + 4;
    const double top = y(first, kBefore), x = middle(g);
    const Colour& colour = kColours[g % kColours.size()];
    return concat("<rect x='", left, "' y='", top - 17, "' width='", right - left, "' height='34' rx='7' fill='",
                  colour.light, "'/>\n<polygon opacity='0.5' fill='", colour.light, "' points='", left + 5, ',',
                  top + 17, ' ', right - 5, ',', top + 17, ' ', x + 18, ',', y(first, kAfter) - kHalf, ' ', x - 18, ',',
                  y(first, kAfter) - kHalf, "'/>\n");
  }

  // A value's way from one op to another: straight to the next one, in an arc past others, with `side` -1 above them
  // and 1 below; at the ends of lines only its beginning and its end.
  struct End {
    double x, y, half_width;
    int line;
  };
  static std::string way(const End& from, const End& to, bool next, double side) {
    if (from.line != to.line)
      return concat("<path class='way' d='M", from.x + from.half_width, ' ', from.y, "h9M", to.x - to.half_width - 9,
                    ' ', to.y, "h9'/>\n");
    if (next)
      return concat("<path class='way' d='M", from.x + from.half_width, ' ', from.y, 'L', to.x - to.half_width, ' ',
                    to.y, "'/>\n");
    const double rise = side * std::min(46.0, 16 + (to.x - from.x) / 7), start = from.y + side * kHalf;
    return concat("<path class='way' d='M", from.x, ' ', start, 'C', from.x, ' ', start + rise, ' ', to.x, ' ',
                  start + rise, ' ', to.x, ' ', start, "'/>\n");
  }

  End end(const PlacedOp& op, double below) const { return {op.x, y(op, below), op.glyph.width / 2, op.line}; }

  std::string shape(const PlacedOp& op, double below) const {
    const double cy = y(op, below);
    const std::string title = tooltip(to_text(network_.before, op.node));
    const bool gone = op.dropped && below == kBefore;
    if (op.glyph.shape == Glyph::Shape::activation)
      return concat("<circle class='", gone ? "gone" : "act", "' cx='", op.x, "' cy='", cy, "' r='6.5'>", title,
                    "</circle>\n");
    if (op.glyph.shape == Glyph::Shape::sum)
      return concat("<circle class='op' cx='", op.x, "' cy='", cy, "' r='7.5'>", title,
                    "</circle><path class='way' d='M", op.x - 4, ' ', cy, "h8M", op.x, ' ', cy - 4, "v8'/>\n");
    return box(op.x, cy, op.glyph.width, op.glyph.label, "", title);
  }

  static std::string box(double x, double y, double width, const std::string& label, const std::string& style,
                         const std::string& title) {
    return concat("<g><rect class='op' ", style, " x='", x - width / 2, "' y='", y - kHalf, "' width='", width,
                  "' height='", 2 * kHalf, "' rx='3'/><text x='", x, "' y='", y + 4, "'>", html_text(label), "</text>",
                  title, "</g>\n");
  }

  std::string before() const {
    std::string ways, shapes;
    for (std::size_t v = 0; v < layout_.ops.size(); ++v) {
      for (const int u : layout_.ops[v].sources)
        ways += way(end(layout_.ops[u], kBefore), end(layout_.ops[v], kBefore), u + 1 == static_cast<int>(v), -1);
      shapes += shape(layout_.ops[v], kBefore);
    }
    return ways + shapes;
  }

  // What is drawn below for the value of the op in place `i`: a group (as -1 - g), or an op.
  int remains(int i) const {
    while (layout_.ops[i].dropped) i = layout_.ops[i].sources[0];
    return layout_.ops[i].group >= 0 ? -1 - layout_.ops[i].group : i;
  }

  End end_after(int what) const {
    if (what >= 0) return end(layout_.ops[what], kAfter);
    const PlacedOp& first = layout_.ops[layout_.groups[-1 - what].first];
    return {middle(-1 - what), y(first, kAfter), 18, first.line};
  }

  std::string after() const {
    std::vector<int> left;  // what is drawn, in order of its places
    std::string shapes;
    for (std::size_t i = 0; i < layout_.ops.size(); ++i) {
      const PlacedOp& op = layout_.ops[i];
      if (op.dropped || (op.group >= 0 && layout_.groups[op.group].last != static_cast<int>(i))) continue;
      left.push_back(remains(static_cast<int>(i)));
      shapes += op.group >= 0 ? merged(op.group) : shape(op, kAfter);
    }
    std::map<int, int> order;
    for (std::size_t i = 0; i < left.size(); ++i) order[left[i]] = static_cast<int>(i);
    std::string ways;
    for (const int to : left) {
      const std::vector<int> sources =
          to >= 0 ? layout_.ops[to].sources : std::vector<int>{layout_.groups[-1 - to].source};
      for (const int source : sources) {
        const int from = remains(source);
        ways += way(end_after(from), end_after(to), order.at(from) + 1 == order.at(to), 1);
      }
    }
    return ways + shapes;
  }

  std::string merged(std::size_t g) const {
    const FoldedNetwork::Group& group = network_.groups[g];
    std::string names;
    for (const std::string& op : group.ops) names += (names.empty() ? "" : " + ") + op;
    // What holds a linear layer becomes one.
    const bool linear =
        std::holds_alternative<Linear>(network_.before.nodes[find(network_.before, group.ops.back())].op);
    const End place = end_after(-1 - static_cast<int>(g));
    const Colour& colour = kColours[g % kColours.size()];
    return box(place.x, place.y, 36, linear ? "fc" : concat(group.kernel, "×", group.kernel),
               concat("style='fill:", colour.light, ";stroke:", colour.dark, ";stroke-width:2'"), tooltip(names));
  }

  const FoldedNetwork& network_;
  const NetworkLayout layout_;
  const bool folded_;
  const double height_;
};

}  // namespace

std::string draw(const FoldedNetwork& network) {
  const bool folded = !network.dropped.empty() || !network.groups.empty();
  return concat("<figure>", Picture(network).svg(),
                "<div class='legend'><span><i class='box'></i>convolution, with its kernel</span> <span><i "
                "class='dot'></i>activation</span> ",
                folded ? "<span><i class='ring'></i>dropped activation</span> <span>above: before; below: after, each "
                         "merged group in one colour</span> "
                       : "",
                "<span>batch norms are not drawn; the text of an op is its tooltip</span></div></figure>\n");
}

}  // namespace pleat
