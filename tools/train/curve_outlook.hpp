// How far an accuracy-depth experiment is, and how long the rest of it will take.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "core/clock.hpp"
#include "tools/train/curve_plan.hpp"
#include "tools/train/run_log.hpp"
#include "tools/train/trainer.hpp"

namespace pleat {

class CurveOutlook : public RunObserver {
 public:
  enum class Part { base, prefold, depth };

  /// Of an experiment with `depths` depths. Writes a line into the log at `log_path` for each epoch of the whole
  /// experiment: its number among all, the part it belongs to, its scores, and the seconds that are left.
  CurveOutlook(const CurveEpochs& epochs, int64_t depths, std::string log_path, bool quiet);

  /// A part is done, in this session or an earlier one, in so many seconds.
  void done(Part part, double seconds);

  /// The next training is of this part, called `label`.
  void next(Part part, std::string label);

  /// Epochs that are done, of how many, and the time left: "34/90 epochs, 1:02:03 left".
  std::string text(double epochs_of_this_part = 0) const;

  double seconds_left(double epochs_of_this_part = 0) const;

  void begins(int64_t epochs_done) override;
  void finished(const EpochRecord& record) override;
  std::string remark(double epochs_done) override { return text(epochs_done); }

 private:
  int64_t epochs_of(Part part) const;
  std::optional<double> seconds_an_epoch(Part part, double epochs_of_this_part) const;

  const CurveEpochs epochs_;
  const int64_t depths_;
  const std::string log_path_;
  const bool quiet_;
  std::array<int64_t, 3> parts_done_ = {};  // by Part
  struct Measured {
    double seconds = 0, epochs = 0;
  };
  std::array<Measured, 3> measured_ = {};  // by Part
  Part part_ = Part::base;
  std::string label_;
  std::optional<RunLog> log_;
  Clock::time_point began_;           // since begins()
  double epochs_before_session_ = 0;  // of this part
};

}  // namespace pleat
