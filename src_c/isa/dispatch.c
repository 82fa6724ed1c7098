/* Which instruction sets this build holds and this machine can run. */
#include "core/fastals.h"

extern const fa_kernels_f32 fa_kernels_f32_generic;
extern const fa_kernels_f64 fa_kernels_f64_generic;

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
extern const fa_kernels_f32 fa_kernels_f32_x86_v3, fa_kernels_f32_x86_v4, fa_kernels_f32_x86_v4_vnni;
extern const fa_kernels_f64 fa_kernels_f64_x86_v3, fa_kernels_f64_x86_v4, fa_kernels_f64_x86_v4_vnni;

/* The psABI level: 1 for whatever lies below 3, 5 for 4 with VNNI. The processor's word is not enough: the operating
 * system must save the registers too (XCR0), or a virtual machine that masks AVX dies of an illegal instruction.
 * __builtin_cpu_supports is not used: compilers disagree on it. */
static int x86_level(void) {
    unsigned a, b, c, d, xcr0, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 1;
    if (!(c & bit_OSXSAVE) || !(c & bit_AVX) || !(c & bit_FMA)) return 1;
    __asm__("xgetbv" : "=a"(xcr0), "=d"(unused) : "c"(0));
    if ((xcr0 & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return 1;
    const unsigned v4 = bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
    if ((xcr0 & 0xe6) != 0xe6 || (b & v4) != v4) return 3;
    return c & bit_AVX512VNNI ? 5 : 4;
}
#else
static int x86_level(void) { return 0; }
#endif

#if defined(__aarch64__) && defined(__GNUC__)
extern const fa_kernels_f32 fa_kernels_f32_neon;
extern const fa_kernels_f64 fa_kernels_f64_neon;
#endif

static const struct {
    const char *name;
    const fa_kernels_f32 *f32;
    const fa_kernels_f64 *f64;
    int x86_level;
} table[FA_ISAS] = {
    [FA_GENERIC] = {"generic", &fa_kernels_f32_generic, &fa_kernels_f64_generic, 0},
#if defined(__x86_64__) && defined(__GNUC__)
    [FA_X86_V3] = {"x86_v3", &fa_kernels_f32_x86_v3, &fa_kernels_f64_x86_v3, 3},
    [FA_X86_V4] = {"x86_v4", &fa_kernels_f32_x86_v4, &fa_kernels_f64_x86_v4, 4},
    [FA_X86_V4_VNNI] = {"x86_v4_vnni", &fa_kernels_f32_x86_v4_vnni, &fa_kernels_f64_x86_v4_vnni, 5},
#else
    [FA_X86_V3] = {"x86_v3", 0, 0, 3},
    [FA_X86_V4] = {"x86_v4", 0, 0, 4},
    [FA_X86_V4_VNNI] = {"x86_v4_vnni", 0, 0, 5},
#endif
#if defined(__aarch64__) && defined(__GNUC__)
    [FA_NEON] = {"neon", &fa_kernels_f32_neon, &fa_kernels_f64_neon, 0},
#else
    [FA_NEON] = {"neon", 0, 0, 0},
#endif
};

int fa_isa_available(int isa) {
    if (isa < 0 || isa >= FA_ISAS || !table[isa].f32) return 0;
    return table[isa].x86_level == 0 || x86_level() >= table[isa].x86_level;
}

const char *fa_isa_name(int isa) { return isa < 0 || isa >= FA_ISAS ? 0 : table[isa].name; }
const fa_kernels_f32 *fa_kernels_for_f32(int isa) { return fa_isa_available(isa) ? table[isa].f32 : 0; }
const fa_kernels_f64 *fa_kernels_for_f64(int isa) { return fa_isa_available(isa) ? table[isa].f64 : 0; }
