#include "fold/border_correction.hpp"

#include <algorithm>
#include <optional>
#include <tuple>

#include "ops/conv/border_conv2d.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

int ceil_div(int64_t a, int64_t b) {
  return static_cast<int>(a > 0 ? (a + b - 1) / b : 0);
}

// The ring along one axis and its reach: before the picture, after it.
struct Side {
  int ring = 0, reach = 0;
};

// Widens the sides for a value of `size` positions, of which output p reads `ahead` and which reads inputs `behind`.
void widen(Side& before, Side& after, int64_t size, int64_t outputs, int64_t inputs, const Offsets& ahead,
           int ahead_stride, const Offsets& behind, int behind_stride) {
  const auto limited = [](int64_t n, int64_t most) { return static_cast<int>(std::clamp<int64_t>(n, 0, most)); };
  const int first = limited(ceil_div(-ahead.lo, ahead_stride), outputs);
  const int last = limited(outputs - ceil_div(size - ahead.hi, ahead_stride), outputs);
  before.ring = std::max(before.ring, first);
  after.ring = std::max(after.ring, last);
  if (first > 0) before.reach = std::max(before.reach, limited(behind.hi - behind_stride + 1, inputs));
  if (last > 0) after.reach = std::max(after.reach, limited(inputs - (behind_stride * size + behind.lo), inputs));
}

// Where both sides meet every position is one of the first.
void part(Side& before, Side& after, int64_t outputs, int64_t inputs) {
  if (before.ring + after.ring <= outputs) return;
  before = {static_cast<int>(outputs), static_cast<int>(before.reach + after.reach > 0 ? inputs : 0)};
  after = {};
}

// A position along one axis; none: all of the axis, whose paths need not leave it.
using At = std::optional<int>;

// Maps of the paths that leave. Offsets of an axis with a position are those of the input's pixels themselves.
class Lost {
 public:
  Lost(const Model& model, const Region& region, const std::vector<Nhwc>& shapes, const std::map<int, LinearMap>& maps)
      : model_(model), region_(region), shapes_(shapes), maps_(maps) {}

  /// From the region's input to `node` at (row, column); null where nothing is lost.
  const LinearMap* at(int node, At row, At column) {
    if (!row && !column) return &maps_.at(node);
    const auto key = std::tuple(node, row, column);
    auto known = known_.find(key);
    if (known == known_.end()) known = known_.emplace(key, find(node, row, column)).first;
    return known->second ? &*known->second : nullptr;
  }

 private:
  using Found = std::optional<LinearMap>;

  Found find(int node, At row, At column) {
    if (node == region_.from) return {};  // the picture, with zeros outside in any case
    const Nhwc& shape = shapes_[node];
    const bool row_left = row && (*row < 0 || *row >= shape.h);
    const bool column_left = column && (*column < 0 || *column >= shape.w);
    if (row_left || column_left) {
      const LinearMap* rest = at(node, row_left ? At() : row, column_left ? At() : column);
      return rest ? place(*rest, row_left ? row : At(), column_left ? column : At()) : Found();
    }
    const Node& op = model_.graph.nodes[node];
    if (std::holds_alternative<Add>(op.op)) {
      Found sum;
      for (const int input : op.inputs) add_to(sum, at(input, row, column));
      return sum;
    }
    return follow(op, row, column);
  }

  // Through the taps of an op to the input's positions.
  Found follow(const Node& op, At row, At column) {
    const int input = op.inputs[0];
    const LinearMap own = linear_map(op, shapes_[input], model_.tensors);
    const Offsets one{0, 0}, &rows = own.shape.rows, &columns = own.shape.columns;
    Found sum;
    for (int r = rows.lo; r <= (row ? rows.hi : rows.lo); ++r)
      for (int c = columns.lo; c <= (column ? columns.hi : columns.lo); ++c) {
        const auto next = [&](At p, int tap) { return p ? At(own.shape.stride * *p + tap) : p; };
        const LinearMap* before = at(input, next(row, r), next(column, c));
        if (!before) continue;
        LinearMap taps = crop(own, row ? Offsets{r, r} : rows, column ? Offsets{c, c} : columns);
        if (row) taps.shape.rows = one;
        if (column) taps.shape.columns = one;
        std::fill(taps.bias.begin(), taps.bias.end(), 0);
        const LinearMap through = compose(taps, *before);
        add_to(sum, &through);
      }
    return sum;
  }

  static void add_to(Found& sum, const LinearMap* part) {
    if (part) sum = sum ? add(*sum, *part) : *part;
  }

  // A map at a position: its offsets become pixels, those outside of the picture fall away.
  LinearMap place(const LinearMap& map, At row, At column) const {
    const int stride = map.shape.stride;
    const auto inside = [&](const Offsets& all, At p, int64_t size) {
      return p ? Offsets{-stride * *p, static_cast<int>(size) - 1 - stride * *p} : all;
    };
    const Nhwc& picture = shapes_[region_.from];
    LinearMap placed = crop(map, inside(map.shape.rows, row, picture.h), inside(map.shape.columns, column, picture.w));
    const auto shift = [&](Offsets& offsets, At p) {
      if (p && offsets.size() > 0) offsets = {offsets.lo + stride * *p, offsets.hi + stride * *p};
    };
    shift(placed.shape.rows, row);
    shift(placed.shape.columns, column);
    return placed;
  }

  const Model& model_;
  const Region& region_;
  const std::vector<Nhwc>& shapes_;
  const std::map<int, LinearMap>& maps_;
  std::map<std::tuple<int, At, At>, Found> known_;
};

// Output position of class `i` of one axis, for the bias.
At position(int64_t i, int64_t classes, int64_t positions, int64_t before, int64_t after) {
  if (i < before) return static_cast<int>(i);
  if (i < classes - after) return {};
  return static_cast<int>(positions - classes + i);
}

}  // namespace

void find_border(const Graph& graph, const std::vector<Nhwc>& shapes, const std::map<int, MapShape>& maps,
                 Region& region) {
  const Nhwc &x = shapes[region.from], &y = shapes[region.to];
  std::map<int, MapShape> rest = {{region.to, identity_shape(static_cast<int>(y.c))}};  // from a value to the end
  Side top, left, bottom, right;
  for (auto i = region.nodes.rbegin(); i != region.nodes.rend(); ++i) {
    const MapShape &ahead = rest.at(*i), &behind = maps.at(*i);
    if (*i != region.to) {
      widen(top, bottom, shapes[*i].h, y.h, x.h, ahead.rows, ahead.stride, behind.rows, behind.stride);
      widen(left, right, shapes[*i].w, y.w, x.w, ahead.columns, ahead.stride, behind.columns, behind.stride);
    }
    const Node& node = graph.nodes[*i];
    for (const int input : node.inputs) {
      const auto own = map_shape(node.op, shapes[input]);  // none: a sum
      const MapShape through = own ? compose(ahead, *own) : ahead;
      const auto [at, fresh] = rest.emplace(input, through);
      if (!fresh) at->second = add(at->second, through);
    }
  }
  part(top, bottom, y.h, x.h);
  part(left, right, y.w, x.w);
  region.ring = {top.ring, left.ring, bottom.ring, right.ring};
  region.reach = {top.reach, left.reach, bottom.reach, right.reach};
}

BorderConv2d border_op(const Region& region, const std::vector<Nhwc>& shapes) {
  const Nhwc &x = shapes[region.from], &y = shapes[region.to];
  const MapShape& map = region.map;
  const int kernel = map.kernel();
  const auto after = [&](const Offsets& offsets, int64_t inputs, int64_t outputs) {
    return static_cast<int>(map.stride * (outputs - 1) + offsets.lo + kernel - inputs);
  };
  const Padding pad{-map.rows.lo, -map.columns.lo, after(map.rows, x.h, y.h), after(map.columns, x.w, y.w)};
  return {map.out, kernel, map.stride, pad, map.groups, region.ring, region.reach};
}

BorderTensors border_tensors(const Model& model, const Region& region, const std::vector<Nhwc>& shapes,
                             const std::map<int, LinearMap>& maps) {
  const BorderConv2d op = border_op(region, shapes);
  const BorderGeometry g(shapes[region.from], op);
  const MapShape& merged = region.map;
  Lost lost(model, region, shapes, maps);

  std::vector<double> weight(g.taps * merged.inputs() * op.out);
  for (const BorderPatch& patch : g.patches)
    for (int64_t i = 0; i < patch.rows.sets * patch.columns.sets; ++i) {
      const int64_t r = patch.rows.first + i / patch.columns.sets, c = patch.columns.first + i % patch.columns.sets;
      const bool at_row = patch.rows.step == 0, at_column = patch.columns.step == 0;
      const LinearMap* map =
          lost.at(region.to, at_row ? At(static_cast<int>(r)) : At(), at_column ? At(static_cast<int>(c)) : At());
      if (!map) continue;
      const MapShape& s = map->shape;
      const double sign = at_row && at_column ? 1 : -1;
      for (int row = s.rows.lo; row <= s.rows.hi; ++row)
        for (int column = s.columns.lo; column <= s.columns.hi; ++column) {
          const int64_t tap =
              patch.tap(r, c) + (row - patch.rows.start) * patch.columns.taps + column - patch.columns.start;
          for (int64_t o = 0; o < op.out; ++o)
            for (int64_t k = 0, k0 = s.first_input(o) - merged.first_input(o); k < s.inputs(); ++k)
              weight[(tap * merged.inputs() + k0 + k) * op.out + o] =
                  sign * map->weight[s.weight_at(o, row, column) + k];
        }
    }

  std::vector<double> bias;
  for (int64_t i = 0; i < g.row_classes; ++i)
    for (int64_t j = 0; j < g.column_classes; ++j) {
      const At r = position(i, g.row_classes, g.y.h, op.ring.top, op.ring.bottom);
      const At c = position(j, g.column_classes, g.y.w, op.ring.left, op.ring.right);
      const std::size_t first = bias.size();
      bias.insert(bias.end(), maps.at(region.to).bias.begin(), maps.at(region.to).bias.end());
      const auto take = [&](At row, At column, double sign) {
        if (const LinearMap* map = lost.at(region.to, row, column))
          for (int o = 0; o < op.out; ++o) bias[first + o] += sign * map->bias[o];
      };
      if (r) take(r, {}, -1);
      if (c) take({}, c, -1);
      if (r && c) take(r, c, 1);
    }

  BorderTensors tensors{Tensor({g.taps, merged.inputs(), op.out}), Tensor({g.row_classes, g.column_classes, op.out})};
  const auto narrow = [](double v) { return static_cast<float>(v); };
  std::transform(weight.begin(), weight.end(), tensors.weight.values.begin(), narrow);
  std::transform(bias.begin(), bias.end(), tensors.bias.values.begin(), narrow);
  return tensors;
}

}  // namespace pleat
