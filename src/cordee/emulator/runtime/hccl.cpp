/* Collectives. */
#include "cordee.h"
#define API extern "C" __attribute__((visibility("default")))
API int HcclGetCommConfigCapability() { return 0; }
