/* The runtime's side of cordee_work.h. */
#include "cordee_work.h"

#include <stdlib.h>

#include "stream.h"

CORDEE_API aclError cordee_queue(aclrtStream handle, cordee_work work, void *argument)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "a collective", &code);

    if (s)
        return stream_queue(s, work, argument);
    free(argument);
    return code;
}

/* Also asked from the stream's thread while it is being destroyed, so the handle is not checked. */
CORDEE_API aclError cordee_interrupted(aclrtStream handle)
{
    const stream *s = handle;
    context *c = context_current();

    if (s && stream_interrupted(s) != ACL_SUCCESS)
        return stream_interrupted(s);
    if (!s && !c)
        return ACL_SUCCESS;
    return machine_health(s ? stream_chip(s) : c->chip);
}

CORDEE_API void *cordee_hold(const void *p, size_t bytes)
{
    address_hold();
    if (space_holds(p) && address_covers(p, bytes))
        return space_shadow((uintptr_t)p);
    address_let_go();
    return NULL;
}

CORDEE_API void cordee_let_go(void)
{
    address_let_go();
}

CORDEE_API int cordee_locate(const void *p, size_t bytes, int *file, uint64_t *offset)
{
    return space_holds(p) && address_locate(p, bytes, file, offset);
}

CORDEE_API int cordee_current_chip(void)
{
    context *c;

    return context_need("a communicator", &c) == ACL_SUCCESS ? c->chip : -1;
}

CORDEE_API int cordee_node(int chip)
{
    return (int)machine_of_process()->chips[chip].node;
}

CORDEE_API aclError cordee_claim(int chip, uint64_t bytes)
{
    return machine_claim(chip, bytes);
}

CORDEE_API void cordee_release(int chip, uint64_t bytes)
{
    machine_release(chip, bytes);
}

CORDEE_API uint32_t cordee_aborts(int chip)
{
    return streams_aborted(chip);
}

CORDEE_API int cordee_hangs(int chip)
{
    return hang_lasts(chip);
}

CORDEE_API uint64_t cordee_execute_timeout_us(void)
{
    return settings_execute_timeout_us();
}

CORDEE_API int cordee_chip(aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    const stream *s = stream_of(handle, "cordee_chip", &code);

    return s ? stream_chip(s) : -1;
}

CORDEE_API aclError cordee_fail(aclError code, const char *why)
{
    return chip_fail(code, "%s", why);
}
