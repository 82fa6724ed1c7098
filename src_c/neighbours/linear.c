/* Linear item models; linear.h is the manual. */
#include "neighbours/linear.h"

#include <math.h>

#include "core/compiler.h"
#include "neighbours/heap.h"

/* Columns whose sums stay in the first-level cache while all rows are added. */
#define COLUMNS 1024

#define real float
#define NAME(name) name##_f32
#include "neighbours/linear.inc.c"
#undef real
#undef NAME

#define real double
#define NAME(name) name##_f64
#include "neighbours/linear.inc.c"
