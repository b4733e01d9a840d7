// JPEG files by libjpeg-turbo. Source of what the markers mean: ITU-T T.81, annex B.
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>
// Behind <cstdio>, which they need.
#include <jpeglib.h>
// Behind jpeglib.h, which it belongs to.
#include <jerror.h>

#include "core/check.hpp"
#include "data/decoders.hpp"

namespace pleat {
namespace {

constexpr int kMostScans = 500;  // A progressive file of a camera or a web site has about 10.
constexpr int kApp1 = JPEG_APP0 + 1;

// libjpeg ends a decoding by a function that must not return; it is C, through which no exception may pass.
struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg knows a pointer to it alone
  std::jmp_buf end;
  char reason[JMSG_LENGTH_MAX];
};

[[noreturn]] void fail(j_common_ptr decoder) {
  auto* const error = reinterpret_cast<ErrorManager*>(decoder->err);
  decoder->err->format_message(decoder, error->reason);
  std::longjmp(error->end, 1);
}

// A warning of libjpeg's is an error where pixels are lost, which it fills with grey. Bytes that stand between a scan
// and the next marker cost no pixel, and neither do markers that contradict each other.
void warn(j_common_ptr decoder, int level) {
  if (level >= 0) return;  // a trace
  switch (decoder->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
      fail(decoder);
    default:
      ++decoder->err->num_warnings;
  }
}

// A file being decoded. What runs within `guarded` must have no destructors to run: an error jumps over them.
class Decoder {
 public:
  explicit Decoder(const PictureBytes& file) : file_(file) {
    state_.err = jpeg_std_error(&error_.base);
    error_.base.error_exit = fail;
    error_.base.emit_message = warn;
    guarded([&] { jpeg_create_decompress(&state_); });
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { jpeg_destroy_decompress(&state_); }

  DecodedPicture decode() {
    guarded([&] {
      jpeg_mem_src(&state_, file_.bytes.data(), file_.bytes.size());
      jpeg_save_markers(&state_, kApp1, 0xFFFF);
      jpeg_read_header(&state_, TRUE);
    });
    check_kind();
    const bool is_ink = state_.jpeg_color_space == JCS_CMYK || state_.jpeg_color_space == JCS_YCCK;
    state_.out_color_space = is_ink ? JCS_CMYK : JCS_EXT_RGBX;
    const int width = static_cast<int>(state_.image_width), height = static_cast<int>(state_.image_height);
    DecodedPicture result{{height, width, 4, std::vector<uint8_t>(std::size_t{4} * width * height)}, orientation()};
    if (jpeg_has_multiple_scans(&state_)) read_scans();
    uint8_t* const pixels = result.picture.bytes.data();
    guarded([&] {
      if (state_.buffered_image)
        jpeg_start_output(&state_, state_.input_scan_number);
      else
        jpeg_start_decompress(&state_);
      while (state_.output_scanline < state_.output_height) {
        JSAMPROW row = pixels + std::size_t{4} * width * state_.output_scanline;
        jpeg_read_scanlines(&state_, &row, 1);
      }
      if (state_.buffered_image) jpeg_finish_output(&state_);
      jpeg_finish_decompress(&state_);
    });
    if (is_ink) print_on_white(result.picture.bytes);
    return result;
  }

 private:
  template <class Body>
  void guarded(const Body& body) {
    if (setjmp(error_.end) == 0) {  // NOLINT(cert-err52-cpp): the way out that libjpeg offers
      body();
      return;
    }
    switch (error_.base.msg_code) {
      case JWRN_JPEG_EOF:
      case JWRN_HIT_MARKER:
      case JERR_INPUT_EOF:
      case JERR_INPUT_EMPTY:
        refuse("ends too early");
      case JERR_NO_IMAGE:
        refuse("holds no picture");
      case JERR_ARITH_NOTIMPL:
        refuse_arithmetic();
      case JERR_BAD_PRECISION:
        refuse(concat("has ", state_.data_precision, " bits a sample, which is not supported (expected 8)"));
      case JERR_SOF_UNSUPPORTED:
        refuse("is lossless or hierarchical, which is not supported");
      default:
        refuse(concat("cannot be decoded: ", error_.reason));
    }
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    throw std::runtime_error(
        concat(file_.name, ": is a JPEG file that ", reason, " (it has ", file_.bytes.size(), " bytes)"));
  }
  [[noreturn]] void refuse_arithmetic() const { refuse("is arithmetic-coded, which is not supported"); }

  void check_kind() const {
    if (state_.arith_code) refuse_arithmetic();
    if (state_.jpeg_color_space == JCS_UNKNOWN)
      refuse(concat("has ", state_.num_components, " colours a pixel, which is not supported (expected 1, 3 or 4)"));
    check_picture_size(file_, state_.image_width, state_.image_height);
  }

  // Reads all scans of a progressive file, or of one that has its colours in scans of their own, into libjpeg's memory.
  void read_scans() {
    unsigned seen = 0;  // bit c: the coarsest part of colour c was there
    int scans = 0;
    guarded([&] {
      state_.buffered_image = TRUE;
      jpeg_start_decompress(&state_);
      for (int event = JPEG_REACHED_SOS; event != JPEG_REACHED_EOI && scans <= kMostScans;
           event = jpeg_consume_input(&state_)) {
        if (event != JPEG_REACHED_SOS) continue;
        ++scans;
        for (int i = 0; i < state_.comps_in_scan && state_.Ss == 0 && state_.Ah == 0; ++i)
          seen |= 1U << state_.cur_comp_info[i]->component_index;
      }
    });
    if (scans > kMostScans) refuse(concat("has more than ", kMostScans, " scans"));
    if (seen + 1 != 1U << state_.num_components) refuse("lacks the scan of one of its colours");
  }

  int orientation() const {
    constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
    const auto find = [&](std::string_view key) -> std::span<const uint8_t> {
      for (const jpeg_marker_struct* m = state_.marker_list; m != nullptr; m = m->next)
        if (m->data_length > key.size() && std::memcmp(m->data, key.data(), key.size()) == 0)
          return {m->data + key.size(), m->data_length - key.size()};
      return {};
    };
    const int turned = exif_orientation(find(kExif));
    return turned != 1 ? turned : xmp_orientation(find(kXmp));
  }

  // Cyan, magenta, yellow and black to red, green and blue, as Pillow does it. What files hold is paper, 255 minus ink:
  // Adobe's programs began it, and others do it too, with or without Adobe's marker.
  static void print_on_white(std::vector<uint8_t>& pixels) {
    for (std::size_t i = 0; i < pixels.size(); i += 4) {
      const int white = pixels[i + 3];
      for (std::size_t c = i; c < i + 3; ++c) {
        const int scaled = (255 - pixels[c]) * white + 128;  // divided by 255 and rounded below
        pixels[c] = static_cast<uint8_t>(white - ((scaled + (scaled >> 8)) >> 8));
      }
    }
  }

  const PictureBytes& file_;
  jpeg_decompress_struct state_{};
  ErrorManager error_{};
};

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 2 && bytes[0] == 0xFF && bytes[1] == 0xD8;
}

DecodedPicture decode_jpeg(const PictureBytes& file) {
  return Decoder(file).decode();
}

}  // namespace pleat
