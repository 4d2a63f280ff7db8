// hello_guest_c: hello_guest in C, through vmm/c.h.

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vmm/c.h>

static int failed(void) {
  fprintf(stderr, "%s\n", vmm_last_error());
  return 2;
}

int main(void) {
  vmm_host_options host_options;
  vmm_host_options_init(&host_options, sizeof(host_options));
  host_options.memory = UINT64_C(128) << 20;
  vmm_host* host = NULL;
  if (vmm_host_create(&host_options, &host) != 0) return failed();

  vmm_guest_options guest_options;
  vmm_guest_options_init(&guest_options, sizeof(guest_options));
  guest_options.name = "hello";
  guest_options.memory = UINT64_C(512) << 20;
  vmm_guest* guest = NULL;
  if (vmm_guest_create(host, &guest_options, &guest) != 0) return failed();

  uint64_t bytes = 0, wrong = 0;
  char* memory = vmm_guest_memory(guest, &bytes);
  for (uint64_t offset = 0; offset < bytes; offset += sizeof(offset)) memcpy(memory + offset, &offset, sizeof(offset));
  for (uint64_t offset = 0; offset < bytes; offset += sizeof(offset))
    wrong += memcmp(memory + offset, &offset, sizeof(offset)) != 0;

  vmm_guest_stats stats = {.size = sizeof(stats)};
  if (vmm_guest_get_stats(guest, &stats) != 0) return failed();
  printf("%" PRIu64 " MiB of guest: %" PRIu64 " MiB resident, %" PRIu64 " MiB swapped; %s\n", stats.memory >> 20,
         stats.resident >> 20, stats.swapped >> 20, wrong == 0 ? "every word is as written" : "words are wrong");
  vmm_guest_destroy(guest);
  vmm_host_destroy(host);
  return wrong == 0 ? 0 : 1;
}
