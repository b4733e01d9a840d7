#include "tools/train/curve_outlook.hpp"

#include <cmath>
#include <cstdio>

#include "core/check.hpp"
#include "core/progress.hpp"

namespace pleat {
namespace {

// What an epoch under a teacher costs beside one without: the teacher's forward pass is a third of a training step.
constexpr double kTeacherCost = 4.0 / 3;

constexpr std::array kParts = {CurveOutlook::Part::base, CurveOutlook::Part::prefold, CurveOutlook::Part::depth};
std::size_t index(CurveOutlook::Part part) {
  return static_cast<std::size_t>(part);
}
double relative_cost(CurveOutlook::Part part) {
  return part == CurveOutlook::Part::depth ? kTeacherCost : 1;
}

}  // namespace

CurveOutlook::CurveOutlook(const CurveEpochs& epochs, int64_t depths, std::string log_path, bool quiet)
    : epochs_(epochs), depths_(depths), log_path_(std::move(log_path)), quiet_(quiet) {}

int64_t CurveOutlook::epochs_of(Part part) const {
  return part == Part::base ? epochs_.base : part == Part::prefold ? epochs_.prefold : epochs_.depth;
}

void CurveOutlook::done(Part part, double seconds) {
  ++parts_done_[index(part)];
  measured_[index(part)].seconds += seconds;
  measured_[index(part)].epochs += static_cast<double>(epochs_of(part));
}

void CurveOutlook::next(Part part, std::string label) {
  part_ = part;
  label_ = std::move(label);
}

// From this kind of part if any of it was done, from another in proportion, or from the training under way.
std::optional<double> CurveOutlook::seconds_an_epoch(Part part, double epochs_of_this_part) const {
  const Measured& own = measured_[index(part)];
  if (own.epochs > 0) return own.seconds / own.epochs;
  const double since = epochs_of_this_part - epochs_before_session_;
  if (since > 0) return seconds_since(began_) / since * relative_cost(part) / relative_cost(part_);
  for (const Part other : kParts)
    if (const Measured& m = measured_[index(other)]; m.epochs > 0)
      return m.seconds / m.epochs * relative_cost(part) / relative_cost(other);
  return {};
}

double CurveOutlook::seconds_left(double epochs_of_this_part) const {
  double left = 0;
  for (const Part part : kParts) {
    const int64_t parts = (part == Part::depth ? depths_ : 1) - parts_done_[index(part)];
    double epochs = static_cast<double>(parts * epochs_of(part));
    if (part == part_ && parts > 0) epochs -= epochs_of_this_part;
    if (epochs > 0) left += epochs * seconds_an_epoch(part, epochs_of_this_part).value_or(NAN);
  }
  return left;
}

std::string CurveOutlook::text(double epochs_of_this_part) const {
  double epochs = epochs_of_this_part;
  for (const Part part : kParts) epochs += static_cast<double>(parts_done_[index(part)] * epochs_of(part));
  const double left = seconds_left(epochs_of_this_part);
  return concat("curve ", std::floor(epochs), "/", epochs_.total(depths_), " epochs, ",
                std::isfinite(left) ? format_duration(left) : "?", " left");
}

void CurveOutlook::begins(int64_t epochs_done) {
  int64_t before = epochs_done;
  for (const Part part : kParts) before += parts_done_[index(part)] * epochs_of(part);
  log_.emplace(log_path_, before);
  epochs_before_session_ = static_cast<double>(epochs_done);
  began_ = Clock::now();
}

void CurveOutlook::finished(const EpochRecord& r) {
  int64_t number = r.epoch;
  for (const Part part : kParts) number += parts_done_[index(part)] * epochs_of(part);
  log_->append({{"epoch", number},
                {"epochs", epochs_.total(depths_)},
                {"part", label_},
                {"part_epoch", r.epoch},
                {"part_epochs", r.epochs},
                {"train_loss", r.train_loss},
                {"test_top1", r.test_top1},
                {"seconds_left", seconds_left(static_cast<double>(r.epoch))}});
  if (!quiet_) std::fprintf(stderr, "%s: %s\n", label_.c_str(), text(static_cast<double>(r.epoch)).c_str());
}

}  // namespace pleat
