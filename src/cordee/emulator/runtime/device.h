/* Devices and the contexts on them. */
#ifndef CORDEE_DEVICE_H
#define CORDEE_DEVICE_H

#include "chip.h"

/* The chip behind `device`, or an explained failure. */
aclError device_need(const char *function, int32_t device, int *chip);

/* Whether the process can come to use the chip. */
aclError device_connect(const char *function, int chip);

int32_t device_of_chip(int chip); /* -1: not visible to this process */

/* Make the primary context of a device the calling thread's, creating it where needed. */
aclError context_use_primary(int32_t device, int chip);
bool context_has_primary(int32_t device); /* it has been made, and not ended since */
void context_end_primary(int32_t device);

/* Device that threads work on which set none, as aclInit's configuration says; -1: none. */
void context_set_default(int32_t device);
int32_t context_default(void);

#endif
