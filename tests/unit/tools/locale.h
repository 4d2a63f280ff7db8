// Locale, Utf8Locale: LC_CTYPE for the duration of a test. C.UTF-8 is part of glibc.
#pragma once

#include <clocale>
#include <string>

#include <gtest/gtest.h>

namespace vmmctl {

class Locale {
 public:
  explicit Locale(const char* name) : before_(std::setlocale(LC_CTYPE, nullptr)) {
    EXPECT_NE(std::setlocale(LC_CTYPE, name), nullptr) << name;
  }
  ~Locale() { std::setlocale(LC_CTYPE, before_.c_str()); }
  Locale(const Locale&) = delete;
  Locale& operator=(const Locale&) = delete;

 private:
  const std::string before_;
};

struct Utf8Locale : Locale {
  Utf8Locale() : Locale("C.UTF-8") {}
};

}  // namespace vmmctl
