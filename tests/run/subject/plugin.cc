// What run_subject loads later.
#include <thread>
#include <vector>

namespace {
thread_local std::vector<long> numbers;
}

extern "C" __attribute__((visibility("default"))) long plugin_sum(int count) {
  long sum = 0;
  std::thread thread([&] {
    for (int i = 0; i < count; ++i) numbers.push_back(i);
    for (const long number : numbers) sum += number;
  });
  thread.join();
  return sum;
}
