// Messages between ranks by MPI: a library of its own for each MPI (core/mpi.hpp says why), which calls nothing of
// Pleat.
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/process_group.hpp"

namespace {

// How long a thread asks again and again whether its messages have arrived, before it leaves its core to others between
// two questions: MPI itself would ask for ever, and take the core from whoever has work.
constexpr auto kPatience = std::chrono::microseconds(50);
constexpr auto kNap = std::chrono::microseconds(20);

void check(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw std::runtime_error("the other ranks are not to be reached: " + std::string(what) + ": " +
                           std::string(text, length));
}

class MpiTransport : public pleat::Transport {
 public:
  MpiTransport() {
    int level = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread");
    if (level < MPI_THREAD_MULTIPLE) throw std::runtime_error("this MPI was built without MPI_THREAD_MULTIPLE");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void exchange(std::span<const Outgoing> outgoing, std::span<const Incoming> incoming, int channel) override {
    thread_local std::vector<MPI_Request> requests;
    requests.clear();
    for (const Incoming& message : incoming)
      for_chunks(message.bytes, [&](std::span<std::byte> chunk) {
        check(MPI_Irecv(chunk.data(), static_cast<int>(chunk.size()), MPI_BYTE, message.from, channel, MPI_COMM_WORLD,
                        &requests.emplace_back()),
              "MPI_Irecv");
      });
    for (const Outgoing& message : outgoing)
      for_chunks(message.bytes, [&](std::span<const std::byte> chunk) {
        check(MPI_Isend(chunk.data(), static_cast<int>(chunk.size()), MPI_BYTE, message.to, channel, MPI_COMM_WORLD,
                        &requests.emplace_back()),
              "MPI_Isend");
      });
    wait(requests);
  }

  void leave() override { check(MPI_Finalize(), "MPI_Finalize"); }

  [[noreturn]] void abort(int code) override {
    MPI_Abort(MPI_COMM_WORLD, code);
    std::abort();  // never reached
  }

 private:
  // MPI counts with int.
  template <class Bytes, class Body>
  static void for_chunks(Bytes bytes, const Body& body) {
    for (std::size_t at = 0; at < bytes.size(); at += INT_MAX)
      body(bytes.subspan(at, std::min<std::size_t>(bytes.size() - at, INT_MAX)));
  }

  static void wait(std::vector<MPI_Request>& requests) {
    const auto start = std::chrono::steady_clock::now();
    for (int done = 0;;) {
      check(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) return;
      if (std::chrono::steady_clock::now() - start > kPatience) std::this_thread::sleep_for(kNap);
    }
  }

  int rank_ = 0, size_ = 1;
};

}  // namespace

extern "C" pleat::Transport* pleat_open_mpi() {
  return new MpiTransport;
}
