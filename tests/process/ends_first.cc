#include "process/ends.h"

namespace vmm::test {

Host host_in_first;
LastWords guest_in_first("first");

}  // namespace vmm::test
