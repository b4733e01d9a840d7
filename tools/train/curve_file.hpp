// curve.json: what an accuracy-depth experiment is, and its results so far. It is written anew, complete or not at all,
// after each part, so that a killed experiment loses none.
//   network, data, seed, ...  how it was asked for; `settings` has the three recipes
//   plan                      depths and epochs, fixed when it began
//   base, prefold             null until they are done
//   points                    one for each depth that is done
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace pleat {

class CurveFile {
 public:
  /// Reads the file at `path`, or begins one. `asked` says what the experiment is. Throws std::runtime_error naming the
  /// file if it is cut short, not a curve's, or of another experiment; then also the first entry that differs.
  CurveFile(std::string path, const nlohmann::ordered_json& asked);

  const nlohmann::ordered_json& json() const { return json_; }

  /// Sets an entry, or adds a point, and writes the file.
  void set(const char* key, nlohmann::ordered_json value);
  void add_point(nlohmann::ordered_json point);

 private:
  void read(const nlohmann::ordered_json& asked);
  void write() const;

  std::string path_;
  nlohmann::ordered_json json_;
};

}  // namespace pleat
