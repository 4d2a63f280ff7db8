// consumer: a program in C99 that uses libvmm.so through vmm/c.h alone: guests twice as large as their host's memory,
// figures, errors, events, sharing and a balloon driver. Prints what is wrong; exit status 0: nothing is.
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <vmm/c.h>

#define MIB (UINT64_C(1) << 20)
enum { kGuests = 4 };

static int wrong = 0;

// Also from a thread of the host's, of which one is running at a time.
static void expect(int holds, const char* what, int line) {
  if (holds) return;
  printf("consumer.c:%d: not so: %s; the last error was \"%s\"\n", line, what, vmm_last_error());
  ++wrong;
}
#define EXPECT(condition) expect((condition) ? 1 : 0, #condition, __LINE__)
#define EXPECT_TEXT(part) expect(strstr(vmm_last_error(), part) != NULL, "the error names " part, __LINE__)

static vmm_host_options small_host(void) {
  vmm_host_options o;
  EXPECT(vmm_host_options_init(&o, sizeof(o)) == 0);
  o.memory = 64 * MIB;
  o.scheduler = VMM_SCHEDULER_MANUAL;
  o.management = VMM_MANAGEMENT_AT_CREATION;
  return o;
}

static vmm_guest_options named(const char* name, uint64_t memory) {
  vmm_guest_options o;
  EXPECT(vmm_guest_options_init(&o, sizeof(o)) == 0);
  o.name = name;
  o.memory = memory;
  o.large_pages = 0;
  return o;
}

static uint64_t value_at(unsigned guest, uint64_t offset) { return (offset + guest) * UINT64_C(0x9e3779b97f4a7c15); }

static void fill(vmm_guest* guest, unsigned number) {
  uint64_t bytes = 0;
  char* memory = vmm_guest_memory(guest, &bytes);
  for (uint64_t at = 0; at < bytes; at += 512) {
    const uint64_t value = value_at(number, at);
    memcpy(memory + at, &value, sizeof(value));
  }
}

static uint64_t words_wrong(vmm_guest* guest, unsigned number, uint64_t from) {
  uint64_t bytes = 0, count = 0;
  const char* memory = vmm_guest_memory(guest, &bytes);
  for (uint64_t at = from; at < bytes; at += 512) {
    const uint64_t value = value_at(number, at);
    count += memcmp(memory + at, &value, sizeof(value)) != 0;
  }
  return count;
}

static void check_overcommitment(vmm_host* host) {
  vmm_guest* guests[kGuests] = {NULL};
  const char* names[kGuests] = {"a", "b", "c", "d"};
  for (unsigned i = 0; i < kGuests; ++i) {
    const vmm_guest_options o = named(names[i], 32 * MIB);
    EXPECT(vmm_guest_create(host, &o, &guests[i]) == 0);
    if (guests[i] == NULL) return;
    fill(guests[i], i);
  }
  for (unsigned i = 0; i < kGuests; ++i) EXPECT(words_wrong(guests[i], i, 0) == 0);

  vmm_host_stats host_stats = {.size = sizeof(host_stats)};
  EXPECT(vmm_host_get_stats(host, &host_stats) == 0);
  EXPECT(host_stats.memory == 64 * MIB && host_stats.guests == kGuests && host_stats.pools == 1);
  EXPECT(host_stats.consumed <= host_stats.memory && host_stats.swapped >= 64 * MIB);
  const uint64_t taken = host_stats.withheld + host_stats.consumed;
  EXPECT(host_stats.free == (taken < host_stats.memory ? host_stats.memory - taken : 0));
  vmm_guest_stats stats = {.size = sizeof(stats)};
  EXPECT(vmm_guest_get_stats(guests[0], &stats) == 0);
  EXPECT(stats.memory == 32 * MIB && stats.resident + stats.swapped == 32 * MIB && stats.managed == 1);
  const uint64_t first = stats.id;
  EXPECT(vmm_guest_get_stats(guests[1], &stats) == 0 && stats.id > first && first > 0);
  EXPECT(vmm_guest_get_stats(guests[0], &stats) == 0 && stats.id == first);
  EXPECT(stats.swapped_out > 0 && stats.swapped_in > 0 && stats.faults > 0 && stats.fault_latency.count > 0);

  uint64_t freed = 0, restored = 0;
  EXPECT(vmm_guest_reclaim(guests[1], 4 * MIB, &freed) == 0);
  EXPECT(vmm_guest_discard(guests[0], 0, 16 * MIB) == 0);
  EXPECT(*(const char*)vmm_guest_memory(guests[0], NULL) == 0);
  EXPECT(words_wrong(guests[0], 0, 16 * MIB) == 0);
  EXPECT(vmm_guest_prefetch(guests[1], 0, MIB) == 0);
  EXPECT(vmm_guest_restore(guests[1], &restored) == 0);
  EXPECT(vmm_guest_restore(guests[1], NULL) == 0);
  EXPECT(words_wrong(guests[1], 1, 0) == 0);

  vmm_pin* pin = NULL;
  EXPECT(vmm_guest_pin(guests[2], 0, MIB, &pin) == 0);
  EXPECT(vmm_guest_get_stats(guests[2], &stats) == 0 && stats.pinned == MIB);
  EXPECT(vmm_guest_discard(guests[2], 0, MIB) == -VMM_ERR_PAGES_PINNED);
  vmm_pin_release(pin);
  EXPECT(vmm_guest_get_stats(guests[2], &stats) == 0 && stats.pinned == 0);

  vmm_seat *seat = NULL, *second = NULL;
  EXPECT(vmm_guest_attach_current_thread(guests[3], VMM_ATTACH_MEASURE_ONLY, &seat) == 0);
  EXPECT(vmm_guest_attach_current_thread(guests[3], VMM_ATTACH_BIND, &second) == -VMM_ERR_ALREADY_ATTACHED);
  EXPECT(second == NULL && vmm_guest_attach_current_thread(guests[3], 7, &second) == -EINVAL);
  EXPECT(vmm_guest_get_stats(guests[3], &stats) == 0 && stats.attached_threads == 1);
  EXPECT(vmm_guest_rehome(guests[3], stats.home_node) == 0);
  EXPECT(vmm_guest_rehome(guests[3], 4000) == -ENODEV);
  vmm_seat_release(seat);

  char* text = NULL;
  EXPECT(vmm_host_stats_json(host, &text) == 0 && strstr(text, "\"name\":\"d\"") != NULL);
  vmm_free(text);
  EXPECT(vmm_host_stats_prometheus(host, &text) == 0 && strstr(text, "guest=\"d\"") != NULL);
  vmm_free(text);
  EXPECT(vmm_host_stats_csv(host, &text) == 0 && strstr(text, "\n") != NULL);
  vmm_free(text);
  for (unsigned i = 0; i < kGuests; ++i) vmm_guest_destroy(guests[i]);
}

static void check_changes(vmm_host* host) {
  vmm_pool_options pool;
  EXPECT(vmm_pool_options_init(&pool, sizeof(pool)) == 0);
  pool.shares = VMM_SHARES_HIGH;
  EXPECT(vmm_host_create_pool(host, "/web", &pool) == 0);
  EXPECT(vmm_host_create_pool(host, "/web", NULL) == -EINVAL);
  vmm_guest_options o = named("changed", 16 * MIB);
  o.pool = "/web";
  vmm_guest* guest = NULL;
  EXPECT(vmm_guest_create(host, &o, &guest) == 0);

  vmm_guest_change change;
  EXPECT(vmm_guest_change_init(&change, sizeof(change)) == 0);
  change.set = VMM_GUEST_SHARES | VMM_GUEST_LIMIT;
  change.shares = 777;
  change.limit = 8 * MIB;
  change.reservation = 1;  // is not in `set`
  EXPECT(vmm_guest_configure(guest, &change) == 0);
  vmm_guest_stats stats = {.size = sizeof(stats)};
  EXPECT(vmm_guest_get_stats(guest, &stats) == 0);
  EXPECT(stats.shares == 777 && stats.limit == 8 * MIB && stats.reservation == 0);
  change.set = VMM_GUEST_RESERVATION;
  EXPECT(vmm_guest_configure(guest, &change) == -EINVAL);
  change.set = UINT64_C(1) << 40;
  EXPECT(vmm_guest_configure(guest, &change) == -EINVAL);
  EXPECT_TEXT("bit 40");

  vmm_pool_change pool_change;
  EXPECT(vmm_pool_change_init(&pool_change, sizeof(pool_change)) == 0);
  pool_change.set = VMM_POOL_LIMIT;
  pool_change.limit = 32 * MIB;
  EXPECT(vmm_host_configure_pool(host, "/web", &pool_change) == 0);
  EXPECT(vmm_host_remove_pool(host, "/web") == -EINVAL);  // it has a guest
  vmm_guest_destroy(guest);
  EXPECT(vmm_host_remove_pool(host, "/web") == 0);

  vmm_host_change host_change;
  EXPECT(vmm_host_change_init(&host_change, sizeof(host_change)) == 0);
  host_change.set = VMM_HOST_MEMORY;
  host_change.memory = 96 * MIB;
  EXPECT(vmm_host_configure(host, &host_change) == 0);
  vmm_host_stats host_stats = {.size = sizeof(host_stats)};
  EXPECT(vmm_host_get_stats(host, &host_stats) == 0 && host_stats.memory == 96 * MIB);
  host_change.memory = 64 * MIB;
  EXPECT(vmm_host_configure(host, &host_change) == 0);
}

static void check_errors(vmm_host* host) {
  vmm_host_options bad = small_host();
  bad.swap_in_batch_pages = 999;
  vmm_host* none = NULL;
  EXPECT(vmm_host_create(&bad, &none) == -EINVAL && none == NULL);
  EXPECT_TEXT("swap_in_batch_pages = 999");
  bad = small_host();
  bad.isolation = 77;
  EXPECT(vmm_host_create(&bad, &none) == -EINVAL);
  EXPECT_TEXT("isolation = 77");
  bad = small_host();
  bad.rebalance = 2;
  EXPECT(vmm_host_create(&bad, &none) == -EINVAL);
  EXPECT_TEXT("rebalance = 2");

  vmm_guest* guest = NULL;
  vmm_guest_options o = named("too large", 64 * MIB);
  o.reservation = 64 * MIB;
  EXPECT(vmm_guest_create(host, &o, &guest) == -VMM_ERR_ADMISSION_REFUSED && guest == NULL);
  EXPECT_TEXT("too large");
  EXPECT(vmm_guest_create(NULL, &o, &guest) == -VMM_ERR_INERT_HANDLE);
  EXPECT(vmm_guest_create(host, &o, NULL) == -EINVAL);
  EXPECT(vmm_guest_create(host, NULL, &guest) == -EINVAL);
  EXPECT(vmm_guest_discard(NULL, 0, 0) == -VMM_ERR_INERT_HANDLE);
  EXPECT(vmm_guest_memory(NULL, NULL) == NULL);
  vmm_host_destroy(NULL);
  vmm_guest_destroy(NULL);
  vmm_pin_release(NULL);
  vmm_seat_release(NULL);
  vmm_capabilities_free(NULL);
  vmm_free(NULL);
}

struct driver {
  pthread_mutex_t mutex;  // guards the rest: the host calls on a thread of its own
  uint64_t next, end;     // what may still be given
  int inflated, deflated, released;
};

static void inflate(void* context, uint64_t bytes, vmm_balloon_answer* answer) {
  struct driver* d = context;
  pthread_mutex_lock(&d->mutex);
  ++d->inflated;
  for (uint64_t given = 0; given < bytes && d->next < d->end; given += VMM_PAGE_SIZE, d->next += VMM_PAGE_SIZE)
    EXPECT(vmm_balloon_give(answer, d->next, VMM_PAGE_SIZE) == 0);
  pthread_mutex_unlock(&d->mutex);
}

static void deflate(void* context, const vmm_balloon_range* ranges, size_t count) {
  struct driver* d = context;
  pthread_mutex_lock(&d->mutex);
  ++d->deflated;
  for (size_t i = 0; i < count; ++i) EXPECT(ranges[i].bytes > 0 && ranges[i].offset + ranges[i].bytes <= d->end);
  pthread_mutex_unlock(&d->mutex);
}

static void release(void* context) {
  struct driver* d = context;
  pthread_mutex_lock(&d->mutex);
  ++d->released;
  pthread_mutex_unlock(&d->mutex);
}

static int released_of(struct driver* d) {
  pthread_mutex_lock(&d->mutex);
  const int released = d->released;
  pthread_mutex_unlock(&d->mutex);
  return released;
}

static int patient(time_t since) { return time(NULL) < since + 60; }

// One guest has a driver and a free half; another wants more than is left.
static void check_balloon(void) {
  vmm_host_options host_options = small_host();
  host_options.scheduler = VMM_SCHEDULER_AUTOMATIC;
  host_options.idle_tax = 0;
  host_options.balance_period_ms = 50;
  vmm_host* host = NULL;
  vmm_guest *giving = NULL, *pressing = NULL;
  EXPECT(vmm_host_create(&host_options, &host) == 0);
  vmm_guest_options o = named("giving", 32 * MIB);
  EXPECT(vmm_guest_create(host, &o, &giving) == 0);
  o = named("pressing", 48 * MIB);
  EXPECT(vmm_guest_create(host, &o, &pressing) == 0);
  if (giving == NULL || pressing == NULL) return;
  fill(giving, 1);

  struct driver d = {PTHREAD_MUTEX_INITIALIZER, 16 * MIB, 32 * MIB, 0, 0, 0};
  vmm_balloon_driver driver;
  EXPECT(vmm_balloon_driver_init(&driver, sizeof(driver)) == 0);
  driver.context = &d;
  driver.release = release;
  EXPECT(vmm_guest_set_balloon(giving, &driver) == -EINVAL);  // no inflate
  EXPECT_TEXT("inflate");
  driver.inflate = inflate;
  driver.deflate = deflate;
  EXPECT(vmm_guest_set_balloon(NULL, &driver) == -VMM_ERR_INERT_HANDLE);
  EXPECT(released_of(&d) == 0);
  EXPECT(vmm_guest_set_balloon(giving, &driver) == 0);

  vmm_guest_stats stats = {.size = sizeof(stats)};
  for (const time_t since = time(NULL); stats.ballooned_out == 0 && patient(since);) {
    fill(pressing, 2);
    EXPECT(vmm_guest_get_stats(giving, &stats) == 0);
  }
  EXPECT(stats.ballooned_out > 0);
  EXPECT(vmm_guest_set_balloon(giving, NULL) == 0);
  for (const time_t since = time(NULL); released_of(&d) == 0 && patient(since);) sched_yield();
  EXPECT(d.released == 1 && d.inflated > 0);
  // The half that is in use is as it was; what was given reads as zeros or, where it was not accepted, as it was.
  uint64_t bytes = 0, torn = 0;
  const char* memory = vmm_guest_memory(giving, &bytes);
  for (uint64_t at = 0; at < bytes; at += 512) {
    const uint64_t value = value_at(1, at), zero = 0;
    torn += memcmp(memory + at, &value, sizeof(value)) != 0 &&
            (at < 16 * MIB || memcmp(memory + at, &zero, sizeof(zero)) != 0);
  }
  EXPECT(torn == 0);
  EXPECT(words_wrong(pressing, 2, 0) == 0);
  vmm_host_destroy(host);
  // Handles that outlive their host are inert, and still to be released.
  EXPECT(vmm_guest_get_stats(giving, &stats) == -VMM_ERR_INERT_HANDLE);
  EXPECT(vmm_guest_memory(giving, &bytes) == NULL && bytes == 0);
  vmm_guest_destroy(giving);
  vmm_guest_destroy(pressing);
}

struct told {
  int created, other, numbered;
  uint64_t last;
};

static void tell(const vmm_event* event, void* context) {
  struct told* t = context;
  EXPECT(event->size >= sizeof(size_t) && event->guest != NULL && event->mechanism != NULL && event->reason != NULL);
  if (event->kind == VMM_EVENT_GUEST_CREATED && strcmp(event->guest, "eventful") == 0)
    ++t->created;
  else
    ++t->other;
  t->numbered += event->sequence > t->last;
  t->last = event->sequence;
}

static void check_events(vmm_host* host) {
  uint64_t first = 0, next = 0, lost = 1;
  struct told before = {0, 0, 0, 0}, live = {0, 0, 0, 0}, kept = {0, 0, 0, 0};
  EXPECT(vmm_host_read_events(host, 0, tell, &before, &first, &lost) == 0);
  EXPECT(vmm_host_on_event(host, tell, &live) == 0);
  const vmm_guest_options o = named("eventful", 4 * MIB);
  vmm_guest* guest = NULL;
  EXPECT(vmm_guest_create(host, &o, &guest) == 0);
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  EXPECT(vmm_host_tick(host, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec) == 0);  // events are told in it
  EXPECT(live.created == 1 && live.numbered == 0);
  EXPECT(vmm_host_on_event(host, NULL, NULL) == 0);
  EXPECT(vmm_host_read_events(host, first, tell, &kept, &next, NULL) == 0);
  EXPECT(kept.created == 1 && kept.numbered == kept.created + kept.other && next == kept.last + 1);
  EXPECT(vmm_host_read_events(host, 0, NULL, NULL, &next, &lost) == -EINVAL);
  EXPECT(strcmp(vmm_event_kind_name(VMM_EVENT_GUEST_CREATED), "guest_created") == 0);
  char* text = NULL;
  EXPECT(vmm_host_events_json(host, first, &text) == 0 && strstr(text, "eventful") != NULL);
  vmm_free(text);
  vmm_guest_destroy(guest);
}

static void check_capabilities(vmm_host* host) {
  vmm_capabilities *probed = NULL, *of_host = NULL;
  EXPECT(vmm_probe(NULL, &probed) == 0);
  EXPECT(vmm_host_capabilities(host, &of_host) == 0);
  EXPECT(vmm_capabilities_level(probed) == vmm_capabilities_level(of_host));
  int userfaultfd = 0;
  vmm_capability item = {.size = sizeof(item)};
  for (size_t i = 0; i < vmm_capabilities_count(probed); ++i) {
    EXPECT(vmm_capabilities_get(probed, i, &item) == 0);
    userfaultfd += strcmp(item.name, "userfaultfd") == 0 && item.state != VMM_CAPABILITY_MISSING;
  }
  EXPECT(userfaultfd == 1);
  EXPECT(vmm_capabilities_get(probed, vmm_capabilities_count(probed), &item) == -ERANGE);
  EXPECT(strcmp(vmm_level_name(VMM_LEVEL_BASELINE), "baseline") == 0);
  vmm_capabilities_free(probed);
  vmm_capabilities_free(of_host);
}

// Two guests of equal pages; and a host that does not share.
static void check_sharing(vmm_host* host) {
  EXPECT(vmm_host_share_now(host, NULL) == -EINVAL);
  EXPECT_TEXT("share_scan_ghz");
  vmm_host_options o = small_host();
  o.share_scan_ghz = 4;
  vmm_host* sharing = NULL;
  EXPECT(vmm_host_create(&o, &sharing) == 0);
  vmm_guest* guests[2] = {NULL, NULL};
  const char* names[2] = {"one", "other"};
  for (unsigned i = 0; i < 2; ++i) {
    vmm_guest_options guest_options = named(names[i], 4 * MIB);
    guest_options.share_salt = "ours";
    EXPECT(vmm_guest_create(sharing, &guest_options, &guests[i]) == 0);
    fill(guests[i], 9);
  }
  vmm_share_estimate estimate = {.size = sizeof(estimate)};
  // A page whose fault is just being answered is looked at the next time.
  for (int tries = 0; tries < 100000 && estimate.looked != 8 * MIB; ++tries)
    if (vmm_host_estimate_sharing(sharing, &estimate) != 0) break;
  EXPECT(estimate.looked == 8 * MIB && estimate.saved == 4 * MIB);
  vmm_share_report report = {.size = sizeof(report)};
  EXPECT(vmm_host_share_now(sharing, &report) == 0);
  EXPECT(report.shared == 8 * MIB && report.saved == 4 * MIB);
  for (unsigned i = 0; i < 2; ++i) {
    EXPECT(words_wrong(guests[i], 9, 0) == 0);
    vmm_guest_destroy(guests[i]);
  }
  vmm_host_destroy(sharing);
}

int main(void) {
  EXPECT(strcmp(vmm_last_error(), "") == 0);
  EXPECT(strlen(vmm_version()) >= 5);
  const vmm_host_options o = small_host();
  vmm_host* host = NULL;
  EXPECT(vmm_host_create(&o, &host) == 0);
  if (host == NULL) return 1;
  check_overcommitment(host);
  check_changes(host);
  check_errors(host);
  check_events(host);
  check_capabilities(host);
  check_sharing(host);
  check_balloon();
  vmm_host_destroy(host);
  printf("%d wrong\n", wrong);
  return wrong == 0 ? 0 : 1;
}
