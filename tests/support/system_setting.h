// SystemSetting: a file of /sys or /proc/sys that is written for a test and put back afterwards.
// Thread-safety: one thread.
#pragma once

#include <fstream>
#include <string>

namespace vmm::test {

class SystemSetting {
 public:
  SystemSetting(const std::string& path, const std::string& value) : path_(path) {
    std::ifstream in(path_);
    if (!std::getline(in, before_)) return;
    // Of "always [madvise] never" the chosen one.
    const auto open = before_.find('['), close = before_.find(']');
    if (open != std::string::npos && close != std::string::npos) before_ = before_.substr(open + 1, close - open - 1);
    changed_ = write(value);
  }
  ~SystemSetting() {
    if (changed_) write(before_);
  }
  SystemSetting(const SystemSetting&) = delete;
  SystemSetting& operator=(const SystemSetting&) = delete;

  // False: the file is not there or may not be written.
  bool changed() const { return changed_; }

 private:
  bool write(const std::string& value) const {
    std::ofstream out(path_);
    out << value << std::flush;
    return out.good();
  }
  const std::string path_;
  std::string before_;
  bool changed_ = false;
};

// The number in such a file; 0 if it cannot be read.
inline unsigned long long system_number(const std::string& path) {
  std::ifstream in(path);
  unsigned long long value = 0;
  in >> value;
  return value;
}

}  // namespace vmm::test
