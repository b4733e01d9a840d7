#include "core/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "core/check.hpp"
#include "core/file.hpp"

namespace pleat {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr uint64_t kMaxHeader = 100'000'000;  // in bytes; the limit of the official reader
constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kMaxName = 1024;
constexpr char kMetadata[] = "__metadata__";

float widen(float value) {
  return value;
}
float widen(double value) {
  return static_cast<float>(value);
}
float widen(int64_t value) {
  return static_cast<float>(value);
}

struct Bfloat16 {
  uint16_t bits;
};
float widen(Bfloat16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}

struct Half {
  uint16_t bits;
};
float widen(Half value) {
  const uint32_t sign = uint32_t{value.bits & 0x8000u} << 16, exponent = value.bits >> 10 & 31,
                 mantissa = value.bits & 1023;
  // A denormal half-precision number is a normal float. It is computed by a product, which is right even if denormals
  // are flushed to zero.
  if (exponent == 0)
    return std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-24f) | sign);
  return std::bit_cast<float>(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13);
}

template <class Stored>
void decode(AlignedVector<float>& values, std::span<const std::byte> bytes) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;  // copied, because tensors in a file need not be aligned
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    values[i] = widen(stored);
  }
}

struct Dtype {
  const char* name;
  int64_t size;  // bytes
  void (*decode)(AlignedVector<float>& values, std::span<const std::byte> bytes);
};
constexpr std::array kDtypes = {Dtype{"F32", 4, decode<float>}, Dtype{"F64", 8, decode<double>},
                                Dtype{"F16", 2, decode<Half>}, Dtype{"BF16", 2, decode<Bfloat16>},
                                Dtype{"I64", 8, decode<int64_t>}};

// Names appear in error messages of one line, so they must fit there. Returns what is wrong with a name; empty if
// nothing is.
std::string name_fault(const std::string& name) {
  if (name.empty()) return "is empty";
  if (name.size() > kMaxName) return concat("has ", name.size(), " bytes, expected at most ", kMaxName);
  const bool printable = std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 127; });
  return printable ? "" : "has a control character";
}

// The header's entry for one tensor.
struct Entry {
  std::string name, type;
  const Dtype* dtype = nullptr;  // null: a type that is not read
  std::vector<int64_t> shape, offsets;
};

// Reads the header event by event instead of building a JSON document. Deep nesting, or a huge document of another
// kind, is thereby refused at its first wrong event.
class HeaderReader : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  HeaderReader(const std::string& file, bool takes_other_types) : file_(file), takes_other_types_(takes_other_types) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (at_ == At::start) return go(At::top);
    if (at_ != At::top) return unexpected("an object");
    if (key_ == kMetadata) return go(At::metadata);
    entries.emplace_back().name = key_;
    fields_.clear();
    return go(At::entry);
  }
  bool end_object() override {
    if (at_ == At::entry) PLEAT_CHECK_FILE(fields_.size() == 3, file_, where(), "needs dtype, shape and data_offsets");
    return go(At::top);
  }
  bool key(std::string& key) override {
    const std::string fault = name_fault(key);
    PLEAT_CHECK_FILE(fault.empty(), file_, "safetensors header: a name ", fault);
    if (at_ == At::top) {
      PLEAT_CHECK_FILE(names_.insert(key).second, file_, "safetensors header: '", key, "' appears twice");
      key_ = key;
      return true;
    }
    PLEAT_CHECK_FILE(at_ == At::metadata || key == "dtype" || key == "shape" || key == "data_offsets", file_, where(),
                     "unknown field '", key, "'");
    PLEAT_CHECK_FILE(at_ == At::entry ? fields_.insert(key).second : !metadata.contains(key), file_, where(), "'", key,
                     "' appears twice");
    field_ = key;
    return true;
  }
  bool string(std::string& text) override {
    if (at_ == At::metadata) return metadata.emplace(field_, std::move(text)).second;
    if (at_ != At::entry || field_ != "dtype") return unexpected("text");
    const std::string fault = name_fault(text);
    PLEAT_CHECK_FILE(fault.empty(), file_, where(), "dtype ", fault);
    const auto* dtype = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& d) { return d.name == text; });
    PLEAT_CHECK_FILE(dtype != kDtypes.end() || takes_other_types_, file_, where(), "dtype is ", text,
                     ", expected F32, F64, F16, BF16 or I64");
    if (dtype != kDtypes.end()) entries.back().dtype = dtype;
    entries.back().type = std::move(text);
    return true;
  }
  bool start_array(std::size_t) override {
    if (at_ != At::entry || field_ == "dtype") return unexpected("a list");
    return go(field_ == "shape" ? At::shape : At::offsets);
  }
  bool end_array() override {
    const std::size_t n = entries.back().offsets.size();
    PLEAT_CHECK_FILE(at_ == At::shape || n == 2, file_, where(), "data_offsets has ", n, " numbers, expected 2");
    return go(At::entry);
  }
  bool number_unsigned(uint64_t value) override {
    if (at_ != At::shape && at_ != At::offsets) return unexpected("a number");
    auto& list = at_ == At::shape ? entries.back().shape : entries.back().offsets;
    const std::size_t longest = at_ == At::shape ? kMaxRank : 2;
    PLEAT_CHECK_FILE(value <= INT64_MAX, file_, where(), field_, " has ", value, ", which is too large");
    PLEAT_CHECK_FILE(list.size() < longest, file_, where(), field_, " has more than ", longest, " numbers");
    list.push_back(static_cast<int64_t>(value));
    return true;
  }
  bool number_integer(int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { return unexpected("a fraction or a huge number"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool null() override { return unexpected("null"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    PLEAT_CHECK_FILE(false, file_, "safetensors header: not JSON at byte ", position);
    return false;
  }

 private:
  enum class At { start, top, metadata, entry, shape, offsets };

  bool go(At at) {
    at_ = at;
    return true;
  }
  std::string where() const { return key_ == kMetadata ? concat(kMetadata, ": ") : concat("tensor '", key_, "': "); }
  bool unexpected(const char* what) const {
    const bool in_list = at_ == At::shape || at_ == At::offsets;
    const char* expected = "a list";
    if (in_list) expected = "whole numbers";
    if (at_ == At::top) expected = "an object";
    if (at_ == At::metadata || (at_ == At::entry && field_ == "dtype")) expected = "text";
    PLEAT_CHECK_FILE(false, file_, where(), at_ == At::top ? "its entry" : field_, in_list ? " holds " : " is ", what,
                     ", expected ", expected);
    return false;
  }

  const std::string& file_;
  const bool takes_other_types_;
  At at_ = At::start;
  std::string key_, field_;               // the last key at the top level, and below it
  std::set<std::string> names_, fields_;  // the keys seen so far at the top level, and in this tensor's entry
};

// Checks that the bytes of each tensor are inside the data and as many as its dtype and shape need, and that all
// tensors together fill the data without holes and overlaps.
void check_layout(const std::vector<Entry>& entries, int64_t data_size, const std::string& file) {
  std::vector<const Entry*> ordered;
  for (const Entry& entry : entries) {
    const int64_t begin = entry.offsets[0], end = entry.offsets[1];
    PLEAT_CHECK_FILE(begin <= end && end <= data_size, file, "tensor '", entry.name, "': data_offsets [", begin, ", ",
                     end, "], expected an interval inside the file's ", data_size, " bytes of data");
    ordered.push_back(&entry);
    if (entry.dtype == nullptr) continue;
    int64_t size = entry.dtype->size;
    for (int64_t extent : entry.shape)
      PLEAT_CHECK_FILE(!__builtin_mul_overflow(size, extent, &size), file, "tensor '", entry.name, "': shape ",
                       to_string(entry.shape), " is too large");
    PLEAT_CHECK_FILE(end - begin == size, file, "tensor '", entry.name, "': data_offsets span ", end - begin,
                     " bytes, but ", entry.dtype->name, ' ', to_string(entry.shape), " needs ", size);
  }
  std::sort(ordered.begin(), ordered.end(), [](const Entry* a, const Entry* b) { return a->offsets < b->offsets; });
  int64_t filled = 0;
  for (const Entry* entry : ordered) {
    PLEAT_CHECK_FILE(
        entry->offsets[0] == filled, file, "tensor '", entry->name, "': its data begin at ", entry->offsets[0],
        entry->offsets[0] < filled ? ", inside another tensor's, which end at " : ", leaving a hole after ", filled);
    filled = entry->offsets[1];
  }
  PLEAT_CHECK_FILE(filled == data_size, file, "has ", data_size - filled, " bytes after the last tensor, expected 0");
}

// Judges a file of `size` bytes by its first ones, and returns how many its header has.
uint64_t check_start(std::span<const std::byte> start, uint64_t size, const std::string& name) {
  uint64_t header_size;
  PLEAT_CHECK_FILE(size >= sizeof header_size, name, "not a safetensors file: ", size, " bytes, expected at least ",
                   sizeof header_size);
  std::memcpy(&header_size, start.data(), sizeof header_size);
  const uint64_t most = std::min<uint64_t>(kMaxHeader, size - sizeof header_size);
  PLEAT_CHECK_FILE(header_size <= most, name, "not a safetensors file, or cut off: its header would have ", header_size,
                   " bytes, expected at most ", most);
  PLEAT_CHECK_FILE(header_size > 0 && static_cast<char>(start[sizeof header_size]) == '{', name,
                   "not a safetensors file: expected its header to begin with '{'");
  return header_size;
}

}  // namespace

std::vector<std::byte> read_safetensors(const std::string& path) {
  const std::vector<std::byte> start = read_file(path, sizeof(uint64_t) + 1);
  check_start(start, start.size() <= sizeof(uint64_t) ? start.size() : std::filesystem::file_size(path), path);
  return read_file(path);
}

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                  std::map<std::string, std::string>* other_types) {
  const uint64_t header_size = check_start(bytes, bytes.size(), name);
  bytes = bytes.subspan(sizeof header_size);
  const char* header = reinterpret_cast<const char*>(bytes.data());
  // The JSON parser takes a zero byte for the end of the text and would ignore what follows.
  PLEAT_CHECK_FILE(std::memchr(header, 0, header_size) == nullptr, name,
                   "safetensors header: contains a zero byte, expected text");
  HeaderReader reader(name, other_types != nullptr);
  nlohmann::ordered_json::sax_parse(header, header + header_size, &reader);
  const auto data = bytes.subspan(header_size);
  check_layout(reader.entries, static_cast<int64_t>(data.size()), name);

  SafetensorsFile file;
  file.metadata = std::move(reader.metadata);
  for (Entry& entry : reader.entries) {
    if (entry.dtype == nullptr) {
      other_types->emplace(std::move(entry.name), std::move(entry.type));
      continue;
    }
    Tensor tensor(std::move(entry.shape));
    entry.dtype->decode(tensor.values, data.subspan(static_cast<std::size_t>(entry.offsets[0])));
    file.tensors.emplace(std::move(entry.name), std::move(tensor));
  }
  return file;
}

SafetensorsFile load_safetensors(const std::string& path) {
  return parse_safetensors(read_safetensors(path), path);
}

void save_safetensors(const std::string& path, const Tensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  const auto check_name = [&](const std::string& name) {
    const std::string fault = name_fault(name);
    PLEAT_CHECK(fault.empty() && name != kMetadata, path, ": a name '", name, "' ",
                fault.empty() ? "is reserved" : fault);
  };
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto& [key, text] : metadata) {
    check_name(key);
    header[kMetadata][key] = text;
  }
  int64_t offset = 0;
  std::vector<std::span<const std::byte>> parts(2);
  for (const auto& [name, tensor] : tensors) {
    check_name(name);
    const auto bytes = std::as_bytes(std::span(tensor.values));
    PLEAT_CHECK(static_cast<int64_t>(tensor.values.size()) == num_elements(tensor.shape), path, ": tensor '", name,
                "' has ", tensor.values.size(), " values, expected as many as shape ", to_string(tensor.shape), " has");
    const int64_t end = offset + static_cast<int64_t>(bytes.size());
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
    parts.push_back(bytes);
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::ordered_json::type_error&) {
    PLEAT_CHECK(false, path, ": a name or a metadata text is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begin at a multiple of 8 bytes
  const uint64_t header_size = text.size();
  parts[0] = std::as_bytes(std::span(&header_size, 1));
  parts[1] = std::as_bytes(std::span(text));
  write_file(path, parts);
}

}  // namespace pleat
