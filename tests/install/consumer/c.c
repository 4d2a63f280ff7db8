// What an installed libvmm must be good for in C: a host, a guest, its memory, an error.
#include <stdio.h>

#include <vmm/c.h>

static int failed(const char* what) {
  printf("%s: %s\n", what, vmm_last_error());
  return 1;
}

int main(void) {
  vmm_host_options host_options;
  vmm_guest_options guest_options;
  vmm_host* host = NULL;
  vmm_guest* guest = NULL;
  if (vmm_host_options_init(&host_options, sizeof(host_options)) != 0) return failed("host options");
  if (vmm_guest_options_init(&guest_options, sizeof(guest_options)) != 0) return failed("guest options");
  host_options.memory = UINT64_C(64) << 20;
  if (vmm_host_create(&host_options, &host) != 0) return failed("host");
  if (vmm_guest_create(host, &guest_options, &guest) == 0) return failed("a guest without a name");
  guest_options.name = "first";
  guest_options.memory = UINT64_C(16) << 20;
  if (vmm_guest_create(host, &guest_options, &guest) != 0) return failed("guest");
  uint64_t bytes = 0;
  char* memory = vmm_guest_memory(guest, &bytes);
  if (memory == NULL || bytes != UINT64_C(16) << 20) return failed("memory");
  memory[bytes - 1] = 1;
  vmm_guest_destroy(guest);
  vmm_host_destroy(host);
  printf("libvmm %s in C\n", vmm_version());
  return 0;
}
