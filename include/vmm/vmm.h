// All of libvmm's public interface.
#pragma once

#include "vmm/balloon.h"
#include "vmm/capabilities.h"
#include "vmm/event.h"
#include "vmm/export.h"
#include "vmm/guest.h"
#include "vmm/host.h"
#include "vmm/metrics.h"
#include "vmm/options.h"
#include "vmm/page_list_driver.h"
#include "vmm/pool.h"
#include "vmm/result.h"
#include "vmm/shares.h"
#include "vmm/stats.h"
#include "vmm/units.h"
