// All of libvmm's public interface.
#pragma once

#include "vmm/capabilities.h"
#include "vmm/event.h"
#include "vmm/export.h"
#include "vmm/guest.h"
#include "vmm/host.h"
#include "vmm/options.h"
#include "vmm/result.h"
#include "vmm/stats.h"
#include "vmm/units.h"
