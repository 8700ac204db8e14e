/* A chip that hangs takes work and does not end it, until it is repaired or somebody gives up. */
#include <time.h>

#include "stream.h"

enum { SLICE_NS = 5000000 };

bool hang_lasts(int chip)
{
    return atomic_load_explicit(&machine_of_process()->chips[chip].hung, memory_order_acquire) != 0;
}

/* Whether waiting should end although the chip still hangs; explained. */
static aclError given_up(int chip, const stream *s, uint32_t device_aborts, uint32_t stream_aborts)
{
    if (machine_health(chip) != ACL_SUCCESS)
        return machine_health(chip);
    if (streams_aborted(chip) != device_aborts)
        return chip_fail(ACL_ERROR_RT_DEVICE_TASK_ABORT, "the tasks of chip %d were aborted", chip);
    if (s && stream_interrupted(s) != ACL_SUCCESS)
        return chip_fail(stream_interrupted(s), "stream %d ended while chip %d hung", s->id, chip);
    if (s && atomic_load(&s->aborts) != stream_aborts)
        return chip_fail(ACL_ERROR_RT_STREAM_ABORT, "stream %d was aborted", s->id);
    return ACL_SUCCESS;
}

aclError hang_wait(int chip, const stream *s)
{
    const struct timespec slice = {0, SLICE_NS};
    uint64_t began = clock_ns(), timeout_us = settings_execute_timeout_us();
    uint32_t device_aborts = streams_aborted(chip);
    uint32_t stream_aborts = s ? atomic_load(&s->aborts) : 0;

    for (;;) {
        /* In this order: what was aborted before the repair must not be done after it. */
        bool lasts = hang_lasts(chip);
        aclError code = given_up(chip, s, device_aborts, stream_aborts);

        if (code != ACL_SUCCESS || !lasts)
            return code;
        if ((clock_ns() - began) / 1000u >= timeout_us)
            return chip_fail(ACL_ERROR_RT_AICORE_TIMEOUT,
                             "chip %d hangs: an operator was not done after %lu ms", chip,
                             (unsigned long)(timeout_us / 1000u));
        nanosleep(&slice, NULL);
    }
}
