// Marks what libvmm.so exports; everything else stays hidden.
#pragma once

#define VMM_API __attribute__((visibility("default")))
