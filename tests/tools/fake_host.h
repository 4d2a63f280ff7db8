// FakeHost: answers on a Unix socket as a host does, or as something else does that a client may meet there.
// Thread-safety: the functions that set what is answered may be called from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace fake {

// What becomes of one request.
struct Answer {
  int status = 200;
  std::string body;
  std::string raw = {};                 // if not empty: these bytes instead of HTTP
  bool hang = false;                    // nothing more, and the connection stays open until the host ends
  std::size_t cut = std::string::npos;  // the connection ends after so many bytes of the answer
};

Answer json_answer(const nlohmann::json& document, int status = 200);

class FakeHost {
 public:
  using Handler = std::function<Answer(const std::string& method, const std::string& target)>;

  // Listens at `path` until it is destroyed. One connection is served at a time.
  FakeHost(std::string path, Handler handler);
  ~FakeHost();
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  const std::string& path() const { return path_; }
  // "METHOD target" of all requests so far.
  std::vector<std::string> requests() const;

 private:
  void run();
  void serve(int connection);

  const std::string path_;
  const Handler handler_;
  int listener_ = -1, end_ = -1;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace fake
