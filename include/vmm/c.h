// The C interface: what host.h, guest.h, options.h, pool.h, balloon.h, stats.h, event.h and capabilities.h offer, for C
// (C99) and for languages that call C. What a field or function means, which of them block, and the defaults are told
// there, under the same names; here stands what is different.
//
// Errors: functions that return int return 0, or a negative errno; vmm_last_error() then has the text. A class of
// vmm::Errc is the errno that VMM_ERR_... names; other numbers are the errno of the call that failed. -EINVAL is also
// what a NULL gets where it is not permitted, -EBADF a handle that is NULL. On error nothing is stored at what the
// last arguments point to.
// Thread-safety: as in C++: any function from any thread, but no handle may be used while or after it is destroyed or
// released. Handles of guests, pins and seats may outlive their host; they are to be released all the same.
// Structs begin with their size. What the program gives is filled by its vmm_..._init(&s, sizeof s), so that a program
// made with an older header has today's defaults for what it does not know. A larger one, of a newer header, is
// accepted while all that this library does not know is zero; else -E2BIG. In structs that the library fills, `size` is
// set to sizeof by the caller, and what the library does not know becomes zero. Where the library calls back, `size` is
// how much it has filled. Sizes are multiples of 8 up to 4096. `unused` members and bits of `set` are 0, else -EINVAL;
// so is a flag that is neither 0 nor 1.
// Callbacks may not throw or jump out. Strings are UTF-8 and end with a zero byte; those that are given are copied.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/export.h"

#ifdef __cplusplus
#define VMM_C_NOEXCEPT noexcept  // nothing throws through C
extern "C" {
#else
#define VMM_C_NOEXCEPT
#endif

#define VMM_PAGE_SIZE UINT64_C(4096)          // vmm::kPageSize
#define VMM_HUGE_PAGE_SIZE UINT64_C(2097152)  // vmm::kHugePageSize

// Classes of vmm::Errc, in place of errnos: a function returns their negative.
#define VMM_ERR_FORKED_CHILD ECHILD        // a call in a child of fork()
#define VMM_ERR_INERT_HANDLE EBADF         // the handle is NULL, or its host is gone
#define VMM_ERR_ALREADY_ATTACHED EALREADY  // the thread already has a seat
#define VMM_ERR_ADMISSION_REFUSED EUSERS   // the host cannot keep its promises to one guest more
#define VMM_ERR_PIN_LIMIT ENOBUFS          // more pinned memory than the limit allows
#define VMM_ERR_PAGE_LOST EIO              // the page's only copy could not be read back
#define VMM_ERR_PAGES_PINNED EBUSY         // the range has pinned pages
#define VMM_ERR_NOT_SUPPORTED EOPNOTSUPP   // the kernel or process lacks what the option asks for
#define VMM_ERR_SHUTTING_DOWN ESHUTDOWN    // the host is being destroyed

// Beside numbers of shares:
#define VMM_SHARES_LOW UINT64_C(0xffffffffffffffff)     // 5 for each MiB
#define VMM_SHARES_NORMAL UINT64_C(0xfffffffffffffffe)  // 10
#define VMM_SHARES_HIGH UINT64_C(0xfffffffffffffffd)    // 20

typedef struct vmm_host vmm_host;
typedef struct vmm_guest vmm_guest;
typedef struct vmm_pin vmm_pin;
typedef struct vmm_seat vmm_seat;
typedef struct vmm_balloon_answer vmm_balloon_answer;  // what a balloon driver gives
typedef struct vmm_capabilities vmm_capabilities;

// Why the last call of this thread that failed did: "operation: reason (remedy)", up to 1,023 bytes; "" before the
// first. Valid until another fails on this thread. Never NULL.
VMM_API const char* vmm_last_error(void) VMM_C_NOEXCEPT;
// "major.minor.patch" of the library that is linked.
VMM_API const char* vmm_version(void) VMM_C_NOEXCEPT;
// Frees a text that the library returned; NULL: nothing.
VMM_API void vmm_free(void* text) VMM_C_NOEXCEPT;

// ---- Host

enum { VMM_LADDER_CLASSIC, VMM_LADDER_SLIDING };
enum { VMM_PLACEMENT_ROUND_ROBIN, VMM_PLACEMENT_LOAD_AND_DISTANCE };
enum { VMM_SCHEDULER_AUTOMATIC, VMM_SCHEDULER_MANUAL };
enum { VMM_ISOLATION_AUTOMATIC, VMM_ISOLATION_MOVE, VMM_ISOLATION_WRITE_PROTECT };
enum { VMM_SWAP_IO_AUTOMATIC, VMM_SWAP_IO_IO_URING, VMM_SWAP_IO_THREADS };
enum { VMM_MANAGEMENT_AUTOMATIC, VMM_MANAGEMENT_ON_DEMAND, VMM_MANAGEMENT_AT_CREATION };

// vmm::HostOptions. Times in milliseconds; uint32_t without a unit: 0 or 1, or a number; NULL: the default.
typedef struct vmm_host_options {
  size_t size;
  uint64_t memory;  // bytes; 0 = nine tenths of what the machine or control group has
  const char* swap_directory;
  const char* stats_socket;
  int64_t swap_retry_timeout_ms;
  int64_t balance_period_ms;
  int64_t sample_period_ms;
  int64_t balloon_timeout_ms;
  int64_t stop_timeout_ms;
  int64_t rebalance_period_ms;
  int64_t rebalance_cool_down_ms;
  int64_t share_scan_time_ms;
  int64_t watchdog_timeout_ms;
  double min_free;
  double idle_tax;
  double rebalance_imbalance;
  double rebalance_improvement;
  double rebalance_locality_weight;
  double migration_rate_max;
  double share_scan_ghz;
  uint32_t swap_persist;  // 0 or 1
  uint32_t swap_in_batch_pages;
  uint32_t swap_async_write_pages;
  uint32_t sample_pages;
  uint32_t balloon_max_percent;
  uint32_t rebalance;       // 0 or 1
  uint32_t rebalance_swap;  // 0 or 1
  uint32_t rebalance_swap_interval;
  uint32_t rebalance_fairness_interval;
  uint32_t rebalance_max_moves;
  uint32_t cpu_weights;  // 0 or 1
  uint32_t share_rate_max;
  uint32_t alloc_guest_large_page;  // 0 or 1
  uint32_t stats_control;           // 0 or 1
  int32_t memory_ladder;            // VMM_LADDER_...
  int32_t placement;                // VMM_PLACEMENT_...
  int32_t scheduler;                // VMM_SCHEDULER_...
  int32_t isolation;                // VMM_ISOLATION_...
  int32_t swap_io;                  // VMM_SWAP_IO_...
  int32_t management;               // VMM_MANAGEMENT_...
} vmm_host_options;

// Fields of vmm_host_change, for its member `set`.
#define VMM_HOST_MEMORY (UINT64_C(1) << 0)
#define VMM_HOST_MIN_FREE (UINT64_C(1) << 1)
#define VMM_HOST_MEMORY_LADDER (UINT64_C(1) << 2)
#define VMM_HOST_BALANCE_PERIOD (UINT64_C(1) << 3)
#define VMM_HOST_IDLE_TAX (UINT64_C(1) << 4)
#define VMM_HOST_SAMPLE_PAGES (UINT64_C(1) << 5)
#define VMM_HOST_SAMPLE_PERIOD (UINT64_C(1) << 6)
#define VMM_HOST_BALLOON_MAX_PERCENT (UINT64_C(1) << 7)
#define VMM_HOST_BALLOON_TIMEOUT (UINT64_C(1) << 8)
#define VMM_HOST_STOP_TIMEOUT (UINT64_C(1) << 9)
#define VMM_HOST_REBALANCE (UINT64_C(1) << 10)
#define VMM_HOST_MIGRATION_RATE_MAX (UINT64_C(1) << 11)
#define VMM_HOST_SHARE_SCAN_GHZ (UINT64_C(1) << 12)
#define VMM_HOST_SHARE_SCAN_TIME (UINT64_C(1) << 13)
#define VMM_HOST_SHARE_RATE_MAX (UINT64_C(1) << 14)

// vmm::HostChange: of the fields, those in `set` change.
typedef struct vmm_host_change {
  size_t size;
  uint64_t set;  // VMM_HOST_... | ...
  uint64_t memory;
  int64_t balance_period_ms;
  int64_t sample_period_ms;
  int64_t balloon_timeout_ms;
  int64_t stop_timeout_ms;
  int64_t share_scan_time_ms;
  double min_free;
  double idle_tax;
  double migration_rate_max;
  double share_scan_ghz;
  uint32_t sample_pages;
  uint32_t balloon_max_percent;
  uint32_t share_rate_max;
  uint32_t rebalance;     // 0 or 1
  int32_t memory_ladder;  // VMM_LADDER_...
  int32_t unused;       // 0
} vmm_host_change;

// Defaults, and `size`. -EINVAL: size is no multiple of 8, or below 8.
VMM_API int vmm_host_options_init(vmm_host_options* options, size_t size) VMM_C_NOEXCEPT;
VMM_API int vmm_host_change_init(vmm_host_change* change, size_t size) VMM_C_NOEXCEPT;

// `options` NULL: the defaults.
VMM_API int vmm_host_create(const vmm_host_options* options, vmm_host** host) VMM_C_NOEXCEPT;
// Ends the host: the memory of its guests is unmapped, their handles become inert. NULL: nothing. Not in a callback of
// the host.
VMM_API void vmm_host_destroy(vmm_host* host) VMM_C_NOEXCEPT;
VMM_API int vmm_host_configure(vmm_host* host, const vmm_host_change* change) VMM_C_NOEXCEPT;
// `now_ns` of CLOCK_MONOTONIC. Only with VMM_SCHEDULER_MANUAL.
VMM_API int vmm_host_tick(vmm_host* host, int64_t now_ns) VMM_C_NOEXCEPT;

// ---- Pools

typedef struct vmm_pool_options {
  size_t size;
  uint64_t shares;
  uint64_t reservation;             // bytes
  uint64_t limit;                   // bytes; 0 = none
  uint32_t expandable_reservation;  // 0 or 1
  uint32_t unused;                // 0
} vmm_pool_options;

#define VMM_POOL_SHARES (UINT64_C(1) << 0)
#define VMM_POOL_RESERVATION (UINT64_C(1) << 1)
#define VMM_POOL_LIMIT (UINT64_C(1) << 2)
#define VMM_POOL_EXPANDABLE_RESERVATION (UINT64_C(1) << 3)

typedef struct vmm_pool_change {
  size_t size;
  uint64_t set;  // VMM_POOL_... | ...
  uint64_t shares;
  uint64_t reservation;
  uint64_t limit;
  uint32_t expandable_reservation;
  uint32_t unused;  // 0
} vmm_pool_change;

VMM_API int vmm_pool_options_init(vmm_pool_options* options, size_t size) VMM_C_NOEXCEPT;
VMM_API int vmm_pool_change_init(vmm_pool_change* change, size_t size) VMM_C_NOEXCEPT;
// `options` NULL: the defaults.
VMM_API int vmm_host_create_pool(vmm_host* host, const char* path, const vmm_pool_options* options) VMM_C_NOEXCEPT;
VMM_API int vmm_host_configure_pool(vmm_host* host, const char* path, const vmm_pool_change* change) VMM_C_NOEXCEPT;
VMM_API int vmm_host_remove_pool(vmm_host* host, const char* path) VMM_C_NOEXCEPT;

// ---- Guest

// Fields of vmm_guest_change, for its member `set`. In vmm_guest_options only VMM_GUEST_IDLE_TAX and
// VMM_GUEST_BALLOON_MAX may be set: without them the host's values hold.
#define VMM_GUEST_SHARES (UINT64_C(1) << 0)
#define VMM_GUEST_RESERVATION (UINT64_C(1) << 1)
#define VMM_GUEST_LIMIT (UINT64_C(1) << 2)
#define VMM_GUEST_POOL (UINT64_C(1) << 3)
#define VMM_GUEST_IDLE_TAX (UINT64_C(1) << 4)
#define VMM_GUEST_BALLOON_MAX (UINT64_C(1) << 5)
#define VMM_GUEST_NODE_AFFINITY (UINT64_C(1) << 6)
#define VMM_GUEST_REBALANCE (UINT64_C(1) << 7)

// vmm::GuestOptions.
typedef struct vmm_guest_options {
  size_t size;
  uint64_t set;      // optional fields that are given: VMM_GUEST_IDLE_TAX, VMM_GUEST_BALLOON_MAX
  const char* name;  // required
  uint64_t memory;   // bytes; required
  uint64_t reservation;
  uint64_t limit;
  uint64_t shares;
  uint64_t balloon_max;  // with VMM_GUEST_BALLOON_MAX
  double idle_tax;       // with VMM_GUEST_IDLE_TAX
  const char* pool;      // NULL = "/"
  const char* swap_directory;
  const char* share_salt;
  const int32_t* node_affinity;  // numbers of nodes; of count 0 = every node
  size_t node_affinity_count;    // of numbers
  uint32_t rebalance;     // 0 or 1, as are these
  uint32_t bind_memory;
  uint32_t large_pages;
  uint32_t page_sharing;
  uint32_t core_dump;
  uint32_t unused;  // 0
} vmm_guest_options;

typedef struct vmm_guest_change {
  size_t size;
  uint64_t set;  // VMM_GUEST_... | ...
  uint64_t shares;
  uint64_t reservation;
  uint64_t limit;
  uint64_t balloon_max;
  double idle_tax;
  const char* pool;
  const int32_t* node_affinity;
  size_t node_affinity_count;  // of numbers
  uint32_t rebalance;
  uint32_t unused;  // 0
} vmm_guest_change;

VMM_API int vmm_guest_options_init(vmm_guest_options* options, size_t size) VMM_C_NOEXCEPT;
VMM_API int vmm_guest_change_init(vmm_guest_change* change, size_t size) VMM_C_NOEXCEPT;

VMM_API int vmm_guest_create(vmm_host* host, const vmm_guest_options* options, vmm_guest** guest) VMM_C_NOEXCEPT;
// Ends the guest, unmaps its memory and frees the handle. NULL: nothing.
VMM_API void vmm_guest_destroy(vmm_guest* guest) VMM_C_NOEXCEPT;
// Its memory, and, where `bytes` is not NULL, the size. NULL and 0: an inert handle.
VMM_API void* vmm_guest_memory(const vmm_guest* guest, uint64_t* bytes) VMM_C_NOEXCEPT;
VMM_API int vmm_guest_configure(vmm_guest* guest, const vmm_guest_change* change) VMM_C_NOEXCEPT;
// Offsets and sizes in bytes, multiples of VMM_PAGE_SIZE.
VMM_API int vmm_guest_discard(vmm_guest* guest, uint64_t offset, uint64_t bytes) VMM_C_NOEXCEPT;
VMM_API int vmm_guest_prefetch(vmm_guest* guest, uint64_t offset, uint64_t bytes) VMM_C_NOEXCEPT;
// What was freed or brought back goes to the last argument, unless it is NULL.
VMM_API int vmm_guest_reclaim(vmm_guest* guest, uint64_t bytes, uint64_t* freed) VMM_C_NOEXCEPT;
VMM_API int vmm_guest_restore(vmm_guest* guest, uint64_t* restored) VMM_C_NOEXCEPT;
VMM_API int vmm_guest_rehome(vmm_guest* guest, int node) VMM_C_NOEXCEPT;

VMM_API int vmm_guest_pin(vmm_guest* guest, uint64_t offset, uint64_t bytes, vmm_pin** pin) VMM_C_NOEXCEPT;
// Ends the pin and frees the handle. NULL: nothing.
VMM_API void vmm_pin_release(vmm_pin* pin) VMM_C_NOEXCEPT;

enum { VMM_ATTACH_BIND, VMM_ATTACH_MEASURE_ONLY };
VMM_API int vmm_guest_attach_current_thread(vmm_guest* guest, int mode, vmm_seat** seat) VMM_C_NOEXCEPT;
// Gives the thread its old affinity back and frees the handle; from any thread. NULL: nothing.
VMM_API void vmm_seat_release(vmm_seat* seat) VMM_C_NOEXCEPT;

// ---- Balloon

typedef struct vmm_balloon_range {
  uint64_t offset;
  uint64_t bytes;
} vmm_balloon_range;

// vmm::BalloonDriver. Called on a thread of the host's, one call at a time.
typedef struct vmm_balloon_driver {
  size_t size;
  void* context;  // is given to each of these
  // Required. Gives up about `bytes` bytes of guest memory by vmm_balloon_give(answer, ...).
  void (*inflate)(void* context, uint64_t bytes, vmm_balloon_answer* answer);
  // The host wants these no longer. NULL: nobody is told.
  void (*deflate)(void* context, const vmm_balloon_range* ranges, size_t count);
  // The driver is called no more, and the context may be freed. NULL: nobody is told. Not called for a driver that
  // vmm_guest_set_balloon() has refused.
  void (*release)(void* context);
} vmm_balloon_driver;

VMM_API int vmm_balloon_driver_init(vmm_balloon_driver* driver, size_t size) VMM_C_NOEXCEPT;
// Only during inflate(), with the answer it was called with.
VMM_API int vmm_balloon_give(vmm_balloon_answer* answer, uint64_t offset, uint64_t bytes) VMM_C_NOEXCEPT;
// The struct is copied. `driver` NULL: the guest has none from now on.
VMM_API int vmm_guest_set_balloon(vmm_guest* guest, const vmm_balloon_driver* driver) VMM_C_NOEXCEPT;

// ---- Figures

typedef struct vmm_latency {
  uint64_t count;
  uint64_t sum_ns;
  uint64_t p50_ns;
  uint64_t p99_ns;
  uint64_t max_ns;
} vmm_latency;

// The main figures of vmm::GuestStats, under its names; all of them are in the text formats below.
typedef struct vmm_guest_stats {
  size_t size;  // sizeof, set by the caller
  uint64_t memory;
  uint64_t reservation;
  uint64_t limit;
  uint64_t shares;
  uint64_t resident;
  uint64_t granted;
  uint64_t staging;
  uint64_t swapped;
  uint64_t swap_target;
  uint64_t lost;
  uint64_t ballooned;
  uint64_t balloon_target;
  uint64_t balloon_max;
  uint64_t target;
  uint64_t overhead;
  uint64_t active;
  uint64_t pinned;
  uint64_t shared;
  uint64_t shared_zero;
  uint64_t shared_common;
  uint64_t shared_saved;
  uint64_t swap_file;
  uint64_t swapped_out;
  uint64_t swap_written;
  uint64_t swapped_in;
  uint64_t ballooned_out;
  uint64_t balloon_popped;
  uint64_t balloon_refused;
  uint64_t faults;
  uint64_t fills;
  uint64_t balloon_pops;
  uint64_t rescues;
  uint64_t swap_ins;
  uint64_t swap_errors;
  uint64_t stalls;
  uint64_t busy_pages;
  uint64_t stops;
  uint64_t stopped_ns;
  uint64_t local;
  uint64_t remote;
  uint64_t migrations;
  uint64_t migrated;
  uint64_t attached_cpu_ns;
  vmm_latency fault_latency;
  vmm_latency swap_in_latency;
  int32_t home_node;
  uint32_t attached_threads;
  uint32_t managed;             // 0 or 1, as are these
  uint32_t stopped;
  uint32_t balloon_distrusted;
  uint32_t swap_failed;
  uint64_t id;
} vmm_guest_stats;

enum { VMM_STATE_HIGH, VMM_STATE_CLEAR, VMM_STATE_SOFT, VMM_STATE_HARD, VMM_STATE_LOW };

// The main figures of vmm::HostStats, under its names.
typedef struct vmm_host_stats {
  size_t size;  // sizeof, set by the caller
  uint64_t time_ns;
  uint64_t wall_time_ms;
  uint64_t memory;
  uint64_t consumed;
  uint64_t free;
  uint64_t overhead;
  uint64_t reserved;
  uint64_t swapped;
  uint64_t ballooned;
  uint64_t shared;
  uint64_t shared_zero;
  uint64_t shared_common;
  uint64_t shared_saved;
  uint64_t share_frames;
  uint64_t min_free;
  uint64_t guests;  // how many there are
  uint64_t pools;   // with the root
  uint64_t nodes;
  int32_t state;             // VMM_STATE_...
  int32_t capability_level;  // VMM_LEVEL_...
  uint64_t withheld;
} vmm_host_stats;

VMM_API int vmm_guest_get_stats(const vmm_guest* guest, vmm_guest_stats* stats) VMM_C_NOEXCEPT;
VMM_API int vmm_host_get_stats(const vmm_host* host, vmm_host_stats* stats) VMM_C_NOEXCEPT;
// The name of VMM_STATE_..., as vmm::to_string(). Never NULL.
VMM_API const char* vmm_state_name(int state) VMM_C_NOEXCEPT;

// Every figure of the host, its pools, guests and nodes, as vmm/metrics.h tells: JSON, Prometheus' text, CSV. The text
// ends with a zero byte and is to be freed by vmm_free().
VMM_API int vmm_host_stats_json(const vmm_host* host, char** text) VMM_C_NOEXCEPT;
VMM_API int vmm_host_stats_prometheus(const vmm_host* host, char** text) VMM_C_NOEXCEPT;
VMM_API int vmm_host_stats_csv(const vmm_host* host, char** text) VMM_C_NOEXCEPT;

// ---- Sharing

typedef struct vmm_share_report {
  size_t size;  // sizeof, set by the caller
  uint64_t scanned;
  uint64_t shared;
  uint64_t zero;
  uint64_t broken;
  uint64_t saved;
  uint64_t cpu_ns;
} vmm_share_report;

// Sums of vmm::ShareEstimate.
typedef struct vmm_share_estimate {
  size_t size;  // sizeof, set by the caller
  uint64_t looked;
  uint64_t zero;
  uint64_t saved;
  uint64_t saved_in_one_group;
} vmm_share_estimate;

// `report` may be NULL.
VMM_API int vmm_host_share_now(vmm_host* host, vmm_share_report* report) VMM_C_NOEXCEPT;
VMM_API int vmm_host_estimate_sharing(vmm_host* host, vmm_share_estimate* estimate) VMM_C_NOEXCEPT;

// ---- Events

// vmm::EventKind.
enum {
  VMM_EVENT_GUEST_CREATED,
  VMM_EVENT_GUEST_DESTROYED,
  VMM_EVENT_GUEST_MANAGED,
  VMM_EVENT_GUEST_NATIVE,
  VMM_EVENT_GUEST_REHOMED,
  VMM_EVENT_REHOMING_FAILED,
  VMM_EVENT_GUEST_MIGRATED,
  VMM_EVENT_NOT_WEIGHED,
  VMM_EVENT_RECLAIMED,
  VMM_EVENT_STATE_CHANGED,
  VMM_EVENT_GUEST_STOPPED,
  VMM_EVENT_STOP_ENDED,
  VMM_EVENT_BALLOON_DISTRUSTED,
  VMM_EVENT_MEMORY_EXHAUSTED,
  VMM_EVENT_SWAP_WRITE_FAILED,
  VMM_EVENT_SWAP_READ_FAILED,
  VMM_EVENT_SWAP_RECOVERED,
  VMM_EVENT_NOT_RECLAIMABLE,
  VMM_EVENT_FAULT_STALLED,
  VMM_EVENT_BUDGET_WITHHELD,
  VMM_EVENT_OVERCOMMIT_ADVICE,
  VMM_EVENT_RESERVATION_ADVICE,
  VMM_EVENT_LIMIT_ADVICE
};

// Strings and struct are valid during the callback.
typedef struct vmm_event {
  size_t size;
  uint64_t sequence;  // in the ledger, from 1; 0 where vmm_host_on_event() calls
  int64_t time_ns;
  const char* guest;  // "" = the host itself
  uint64_t bytes;
  const char* mechanism;
  const char* reason;
  int32_t kind;  // VMM_EVENT_...; newer libraries may have more
  int32_t unused;
} vmm_event;

// What is called for an event, with the `context` that was given beside it.
typedef void (*vmm_event_callback)(const vmm_event* event, void* context);

// The name of VMM_EVENT_..., as vmm::to_string(). Never NULL.
VMM_API const char* vmm_event_kind_name(int kind) VMM_C_NOEXCEPT;
// Calls `callback` for every event, on a thread of its own; NULL: for none. When this returns the former is called no
// more. What the callback may do: see vmm::Host::on_event.
VMM_API int vmm_host_on_event(vmm_host* host, vmm_event_callback callback, void* context) VMM_C_NOEXCEPT;
// Calls `callback`, on this thread and before this returns, for the events numbered `since` and up that are still kept.
// What to ask for next, and how many are no longer kept, go to `next` and `lost`, unless they are NULL.
VMM_API int vmm_host_read_events(const vmm_host* host, uint64_t since, vmm_event_callback callback, void* context,
                                 uint64_t* next, uint64_t* lost) VMM_C_NOEXCEPT;
// The same as one JSON object, to be freed by vmm_free().
VMM_API int vmm_host_events_json(const vmm_host* host, uint64_t since, char** text) VMM_C_NOEXCEPT;

// ---- What the kernel and the process allow

enum { VMM_LEVEL_FULL, VMM_LEVEL_BASELINE, VMM_LEVEL_USER_MODE, VMM_LEVEL_NONE };
enum { VMM_CAPABILITY_AVAILABLE, VMM_CAPABILITY_LIMITED, VMM_CAPABILITY_MISSING };

// Strings are valid until vmm_capabilities_free().
typedef struct vmm_capability {
  size_t size;  // sizeof, set by the caller
  const char* name;
  const char* detail;
  const char* consequence;
  const char* remedy;
  int32_t state;  // VMM_CAPABILITY_...
  int32_t unused;
} vmm_capability;

// vmm::probe(); `swap_directory` NULL: the default one. To be freed by vmm_capabilities_free().
VMM_API int vmm_probe(const char* swap_directory, vmm_capabilities** capabilities) VMM_C_NOEXCEPT;
// What the host found when it was created.
VMM_API int vmm_host_capabilities(const vmm_host* host, vmm_capabilities** capabilities) VMM_C_NOEXCEPT;
// NULL: nothing.
VMM_API void vmm_capabilities_free(vmm_capabilities* capabilities) VMM_C_NOEXCEPT;
// VMM_LEVEL_...; VMM_LEVEL_NONE for NULL.
VMM_API int vmm_capabilities_level(const vmm_capabilities* capabilities) VMM_C_NOEXCEPT;
// The name of VMM_LEVEL_..., as vmm::to_string(). Never NULL.
VMM_API const char* vmm_level_name(int level) VMM_C_NOEXCEPT;
// How many items there are.
VMM_API size_t vmm_capabilities_count(const vmm_capabilities* capabilities) VMM_C_NOEXCEPT;
// One of them, by number from 0. -ERANGE: there is no such item.
VMM_API int vmm_capabilities_get(const vmm_capabilities* capabilities, size_t index,
                                 vmm_capability* item) VMM_C_NOEXCEPT;

#ifdef __cplusplus
}
#endif
