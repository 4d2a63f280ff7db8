// Marks what libvmm.so exports; everything else stays hidden.
#pragma once

// For what a program that links the library may use.
#define VMM_API __attribute__((visibility("default")))
