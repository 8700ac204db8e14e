/* What the operators need from the emulated runtime beyond the vendor's API. */
#ifndef CORDEE_H
#define CORDEE_H

#include <stddef.h>
#include <acl/acl.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Host address of a byte = its device address + this; the same for the whole process. */
ptrdiff_t cordee_shadow_offset(void);

/* Whether the host address p lies where bytes of device memory are. */
int cordee_is_shadow(const void *p);

/* Wait until everything queued on `stream` has run, as a kernel launched on it would.
 * Gives the error that stopped the stream or the device, or ACL_SUCCESS. Cheap when idle. */
aclError cordee_compute_begin(aclrtStream stream);

#ifdef __cplusplus
}
#endif
#endif
