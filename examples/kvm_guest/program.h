// What the virtual machine runs: counts in each page of its memory, and checks that nobody else does.
#pragma once

#include <cstdint>

// Physical addresses. Counted pages hold the number of rounds in their first and last four bytes. Scratch pages hold
// the number of the last round in their first, or zeros, for the host may discard them.
constexpr std::uint32_t kEntry = 0x1000;
constexpr std::uint32_t kCounted = 0x20000, kCountedEnd = 0x80000;
constexpr std::uint32_t kScratch = 0x80000, kScratchEnd = 0xa0000;
constexpr std::uint32_t kRam = 0x100000;

// Ports: a round is done, of that number; a page did not hold what it should, and the segment of it.
constexpr std::uint16_t kRoundPort = 0x10, kWrongPort = 0x11;

// clang-format off
constexpr std::uint8_t kProgram[] = {
    0x66, 0x31, 0xed,                    // 00        xor ebp, ebp        ; rounds that are done
    0xb8, 0x00, 0x20,                    // 03 round: mov ax, 0x2000      ; the counted pages, as segments
    0x8e, 0xd8,                          // 06 page:  mov ds, ax
    0x66, 0x39, 0x2e, 0x00, 0x00,        // 08        cmp [0x000], ebp
    0x75, 0x45,                          // 0d        jne wrong
    0x66, 0x39, 0x2e, 0xfc, 0x0f,        // 0f        cmp [0xffc], ebp
    0x75, 0x3e,                          // 14        jne wrong
    0x66, 0xff, 0x06, 0x00, 0x00,        // 16        inc dword [0x000]
    0x66, 0xff, 0x06, 0xfc, 0x0f,        // 1b        inc dword [0xffc]
    0x05, 0x00, 0x01,                    // 20        add ax, 0x100
    0x3d, 0x00, 0x80,                    // 23        cmp ax, 0x8000
    0x75, 0xde,                          // 26        jne page
    0x8e, 0xd8,                          // 28 scrap: mov ds, ax          ; the scratch pages
    0x66, 0x8b, 0x1e, 0x00, 0x00,        // 2a        mov ebx, [0x000]    ; once: it may be discarded any moment
    0x66, 0x85, 0xdb,                    // 2f        test ebx, ebx
    0x74, 0x05,                          // 32        je write
    0x66, 0x39, 0xeb,                    // 34        cmp ebx, ebp
    0x75, 0x1b,                          // 37        jne wrong
    0x66, 0x45,                          // 39 write: inc ebp
    0x66, 0x89, 0x2e, 0x00, 0x00,        // 3b        mov [0x000], ebp
    0x66, 0x4d,                          // 40        dec ebp
    0x05, 0x00, 0x01,                    // 42        add ax, 0x100
    0x3d, 0x00, 0xa0,                    // 45        cmp ax, 0xa000
    0x75, 0xde,                          // 48        jne scrap
    0x66, 0x45,                          // 4a        inc ebp
    0x66, 0x89, 0xe8,                    // 4c        mov eax, ebp
    0x66, 0xe7, 0x10,                    // 4f        out 0x10, eax
    0xeb, 0xaf,                          // 52        jmp round
    0xe7, 0x11,                          // 54 wrong: out 0x11, ax
    0xf4,                                // 56        hlt
};
// clang-format on
