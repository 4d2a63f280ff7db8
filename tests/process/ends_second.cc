#include "process/ends.h"

namespace vmm::test {

Host host_in_second;
LastWords guest_in_second("second");

}  // namespace vmm::test
