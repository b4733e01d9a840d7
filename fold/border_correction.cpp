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

// The width of the ring and its reach on one side of the picture.
struct Side {
  int ring = 0, reach = 0;
};

// How a value is read along one axis: output position p reads it at stride * p + offsets.
struct Reads {
  Offsets offsets;
  int stride = 1;
};

// The numbers of positions along one axis: of a value inside the region, of the region's output and of its input.
struct Extents {
  int64_t value = 0, output = 0, input = 0;
};

// Widens both sides along one axis for a value inside the region. `ahead` says how the region's output reads this
// value, `behind` how the value reads the region's input.
void widen(Side& before, Side& after, const Extents& extents, const Reads& ahead, const Reads& behind) {
  const auto limited = [](int64_t n, int64_t most) { return static_cast<int>(std::clamp<int64_t>(n, 0, most)); };
  const int first = limited(ceil_div(-ahead.offsets.lo, ahead.stride), extents.output);
  const int last = limited(extents.output - ceil_div(extents.value - ahead.offsets.hi, ahead.stride), extents.output);
  before.ring = std::max(before.ring, first);
  after.ring = std::max(after.ring, last);
  if (first > 0) before.reach = std::max(before.reach, limited(behind.offsets.hi - behind.stride + 1, extents.input));
  if (last > 0) {
    const int64_t first_read = behind.stride * extents.value + behind.offsets.lo;
    after.reach = std::max(after.reach, limited(extents.input - first_read, extents.input));
  }
}

// If the two sides meet, all positions become part of the first side.
void join_if_they_meet(Side& before, Side& after, int64_t outputs, int64_t inputs) {
  if (before.ring + after.ring <= outputs) return;
  before = {static_cast<int>(outputs), static_cast<int>(before.reach + after.reach > 0 ? inputs : 0)};
  after = {};
}

// A position along one axis, or none if the paths need not leave the picture along this axis.
using Position = std::optional<int>;

// Computes the maps of the lost paths. Along an axis with a position, the offsets of such a map are the positions of
// input pixels, and not relative to the output.
class LostPaths {
 public:
  LostPaths(const Model& model, const Region& region, const std::vector<Nhwc>& shapes,
            const std::map<int, LinearMap>& maps)
      : model_(model), region_(region), shapes_(shapes), maps_(maps) {}

  /// The map of the paths from the region's input to `node` at (row, column) that leave the picture along each axis
  /// with a position; null if there are none.
  const LinearMap* lost(int node, Position row, Position column) {
    if (!row && !column) return &maps_.at(node);
    const auto key = std::tuple(node, row, column);
    auto known = known_.find(key);
    if (known == known_.end()) known = known_.emplace(key, find(node, row, column)).first;
    return known->second ? &*known->second : nullptr;
  }

 private:
  using MaybeMap = std::optional<LinearMap>;

  MaybeMap find(int node, Position row, Position column) {
    if (node == region_.from) return {};  // the input has zeros outside in the merged network, too
    const Nhwc& shape = shapes_[node];
    const bool row_left = row && (*row < 0 || *row >= shape.h);
    const bool column_left = column && (*column < 0 || *column >= shape.w);
    if (row_left || column_left) {
      const LinearMap* rest = lost(node, row_left ? Position() : row, column_left ? Position() : column);
      return rest ? place(*rest, row_left ? row : Position(), column_left ? column : Position()) : MaybeMap();
    }
    const Node& op = model_.graph.nodes[node];
    if (std::holds_alternative<Add>(op.op)) {
      MaybeMap sum;
      for (const int input : op.inputs) add_to(sum, lost(input, row, column));
      return sum;
    }
    return follow(op, row, column);
  }

  // The lost paths that lead through the taps of an op.
  MaybeMap follow(const Node& op, Position row, Position column) {
    const int input = op.inputs[0];
    const LinearMap own = linear_map(op, shapes_[input], model_.tensors);
    const Offsets one{0, 0}, &rows = own.shape.rows, &columns = own.shape.columns;
    MaybeMap sum;
    for (int r = rows.lo; r <= (row ? rows.hi : rows.lo); ++r)
      for (int c = columns.lo; c <= (column ? columns.hi : columns.lo); ++c) {
        const auto next = [&](Position p, int tap) { return p ? Position(own.shape.stride * *p + tap) : p; };
        const LinearMap* before = lost(input, next(row, r), next(column, c));
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

  static void add_to(MaybeMap& sum, const LinearMap* part) {
    if (part) sum = sum ? add(*sum, *part) : *part;
  }

  // Converts the offsets of a map to positions of input pixels. Pixels outside the picture are dropped.
  LinearMap place(const LinearMap& map, Position row, Position column) const {
    const int stride = map.shape.stride;
    const auto inside = [&](const Offsets& all, Position p, int64_t size) {
      return p ? Offsets{-stride * *p, static_cast<int>(size) - 1 - stride * *p} : all;
    };
    const Nhwc& picture = shapes_[region_.from];
    LinearMap placed = crop(map, inside(map.shape.rows, row, picture.h), inside(map.shape.columns, column, picture.w));
    const auto shift = [&](Offsets& offsets, Position p) {
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
  std::map<std::tuple<int, Position, Position>, MaybeMap> known_;
};

// The output position to which class `i` of the biases along one axis belongs; none for the interior.
Position position_of_class(int64_t i, int64_t classes, int64_t positions, int64_t before, int64_t after) {
  if (i < before) return static_cast<int>(i);
  if (i < classes - after) return {};
  return static_cast<int>(positions - classes + i);
}

}  // namespace

void find_border(const Graph& graph, const std::vector<Nhwc>& shapes, const std::map<int, MapShape>& maps,
                 Region& region) {
  const Nhwc &x = shapes[region.from], &y = shapes[region.to];
  std::map<int, MapShape> rest = {{region.to, identity_shape(static_cast<int>(y.c))}};  // from each value to the output
  Side top, left, bottom, right;
  for (auto i = region.nodes.rbegin(); i != region.nodes.rend(); ++i) {
    const MapShape &ahead = rest.at(*i), &behind = maps.at(*i);
    if (*i != region.to) {
      widen(top, bottom, {shapes[*i].h, y.h, x.h}, {ahead.rows, ahead.stride}, {behind.rows, behind.stride});
      widen(left, right, {shapes[*i].w, y.w, x.w}, {ahead.columns, ahead.stride}, {behind.columns, behind.stride});
    }
    const Node& node = graph.nodes[*i];
    for (const int input : node.inputs) {
      const auto own = map_shape(node.op, shapes[input]);  // an addition has no map of its own
      const MapShape through = own ? compose(ahead, *own) : ahead;
      const auto [entry, is_new] = rest.emplace(input, through);
      if (!is_new) entry->second = add(entry->second, through);
    }
  }
  join_if_they_meet(top, bottom, y.h, x.h);
  join_if_they_meet(left, right, y.w, x.w);
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
  LostPaths lost_paths(model, region, shapes, maps);

  std::vector<double> weight(g.taps * merged.inputs() * op.out);
  for (const BorderPatch& patch : g.patches)
    for (int64_t i = 0; i < patch.rows.sets * patch.columns.sets; ++i) {
      const int64_t r = patch.rows.first + i / patch.columns.sets, c = patch.columns.first + i % patch.columns.sets;
      const bool at_row = patch.rows.step == 0, at_column = patch.columns.step == 0;
      const LinearMap* map = lost_paths.lost(region.to, at_row ? Position(static_cast<int>(r)) : Position(),
                                             at_column ? Position(static_cast<int>(c)) : Position());
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
      const Position r = position_of_class(i, g.row_classes, g.y.h, op.ring.top, op.ring.bottom);
      const Position c = position_of_class(j, g.column_classes, g.y.w, op.ring.left, op.ring.right);
      const std::size_t first = bias.size();
      bias.insert(bias.end(), maps.at(region.to).bias.begin(), maps.at(region.to).bias.end());
      const auto take = [&](Position row, Position column, double sign) {
        if (const LinearMap* map = lost_paths.lost(region.to, row, column))
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
