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

/* What is not as it should be with the chip of a live stream, although it works. */
enum {
    CORDEE_SLOW = 1,    /* operators take longer */
    CORDEE_WRONG = 2,   /* an operator's results are wrong */
    CORDEE_ABORTED = 4, /* this process has stopped it at least once */
};
unsigned cordee_disturbances(aclrtStream stream);

/* The program computes again after it has stopped the chip: bad memory that it left is met again. */
void cordee_resume(aclrtStream stream);

/* How much of its time an operator takes, in hundredths; 0 is 100. */
unsigned cordee_slow_percent(aclrtStream stream);

/* 1 + the bit that results of `operator_name` get wrong, 0: none. Names are given with the overload;
 * a fault that names none concerns all. */
unsigned cordee_flip(aclrtStream stream, const char *operator_name);

#ifdef __cplusplus
}
#endif
#endif
