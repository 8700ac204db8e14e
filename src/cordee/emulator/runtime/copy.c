/* Copies and fills: every pointer is checked against what it claims to be.
 *
 * Follows: CANN "Runtime API", chapter Memory Management.
 */
#include <string.h>

#include "chip.h"
#include "memory.h"

/* A copy of this many bytes from or to pinned memory leaves the calling thread. */
enum { QUEUED_FROM = 1 << 20 };

typedef struct copy {
    void *to;
    const void *from;
    size_t count;
    int32_t value; /* for a fill, when from is NULL */
} copy;

static aclError outside(const char *function, const void *p, size_t count)
{
    return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                     "%s: %p and the %zu bytes after it are not all device memory", function, p,
                     count);
}

/* Whether the pointers are of the sides that `kind` names. */
static aclError check_sides(const char *function, const copy *c, aclrtMemcpyKind kind)
{
    bool to = space_holds(c->to), from = space_holds(c->from);
    bool wants_to = kind == ACL_MEMCPY_HOST_TO_DEVICE || kind == ACL_MEMCPY_HOST_TO_BUF_TO_DEVICE;
    bool wants_from = kind == ACL_MEMCPY_DEVICE_TO_HOST;

    if (kind == ACL_MEMCPY_DEVICE_TO_DEVICE || kind == ACL_MEMCPY_INNER_DEVICE_TO_DEVICE ||
        kind == ACL_MEMCPY_INTER_DEVICE_TO_DEVICE)
        wants_to = wants_from = true;
    if (kind < ACL_MEMCPY_HOST_TO_HOST || kind > ACL_MEMCPY_INTER_DEVICE_TO_DEVICE)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: kind %d", function, (int)kind);
    if (kind != ACL_MEMCPY_DEFAULT && (to != wants_to || from != wants_from))
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID,
                         "%s: kind %d, but it is a copy from %s to %s memory", function, (int)kind,
                         from ? "device" : "host", to ? "device" : "host");
    return ACL_SUCCESS;
}

static aclError check_covered(const char *function, const copy *c)
{
    aclError code = ACL_SUCCESS;

    address_hold();
    if (space_holds(c->to) && !address_covers(c->to, c->count))
        code = outside(function, c->to, c->count);
    else if (c->from && space_holds(c->from) && !address_covers(c->from, c->count))
        code = outside(function, c->from, c->count);
    address_let_go();
    return code;
}

static aclError check(const char *function, const copy *c, size_t room, aclrtMemcpyKind kind)
{
    if (!c->to || !c->from)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: a pointer is NULL", function);
    if (c->count > room)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: %zu bytes do not fit into %zu", function,
                         c->count, room);
    aclError code = check_sides(function, c, kind);
    return code == ACL_SUCCESS ? check_covered(function, c) : code;
}

static void *reachable(const void *p)
{
    return space_holds(p) ? space_shadow((uintptr_t)p) : (void *)p;
}

/* Checked again: memory may have been freed between the request and its turn on the stream. */
static aclError perform(void *argument, aclError before)
{
    copy *c = argument;
    bool covered;

    if (before != ACL_SUCCESS)
        return before;
    address_hold();
    covered = (!space_holds(c->to) || address_covers(c->to, c->count)) &&
              (!c->from || !space_holds(c->from) || address_covers(c->from, c->count));
    if (covered && c->from)
        memmove(reachable(c->to), reachable(c->from), c->count);
    else if (covered)
        memset(reachable(c->to), c->value, c->count);
    address_let_go();
    return covered ? ACL_SUCCESS
                   : chip_fail(ACL_ERROR_RT_SYS_DMA, "a copy of %zu bytes met freed device memory",
                               c->count);
}

aclError aclrtMemcpy(void *to, size_t room, const void *from, size_t count, aclrtMemcpyKind kind)
{
    copy c = {to, from, count, 0};
    aclError code;
    context *current;

    if (count == 0)
        return ACL_SUCCESS;
    code = check("aclrtMemcpy", &c, room, kind);
    if (code == ACL_SUCCESS && kind != ACL_MEMCPY_HOST_TO_HOST)
        code = context_need("aclrtMemcpy", &current);
    if (code == ACL_SUCCESS && kind != ACL_MEMCPY_HOST_TO_HOST && hang_lasts(current->chip))
        code = hang_wait(current->chip, NULL);
    return code == ACL_SUCCESS ? perform(&c, ACL_SUCCESS) : code;
}

static aclError copy_on(const char *function, copy c, size_t room, aclrtMemcpyKind kind,
                        aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, function, &code);

    if (!s)
        return code;
    if (c.count == 0)
        return ACL_SUCCESS;
    code = check(function, &c, room, kind);
    if (code != ACL_SUCCESS)
        return code;
    /* Pageable memory makes the real copy synchronous too, and small ones are not worth a thread. */
    if (c.count < QUEUED_FROM || !host_memory_is_pinned(space_holds(c.to) ? c.from : c.to))
        return stream_run(s, perform, &c, sizeof c);
    return stream_queue_copy(s, perform, &c, sizeof c);
}

aclError aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t count,
                          aclrtMemcpyKind kind, aclrtStream handle)
{
    return copy_on("aclrtMemcpyAsync", (copy){to, from, count, 0}, room, kind, handle);
}

/* "With condition": falls back to a synchronous copy for pageable memory; either order is kept. */
aclError aclrtMemcpyAsyncWithCondition(void *to, size_t room, const void *from, size_t count,
                                       aclrtMemcpyKind kind, aclrtStream handle)
{
    return copy_on("aclrtMemcpyAsyncWithCondition", (copy){to, from, count, 0}, room, kind, handle);
}

static aclError check_fill(const char *function, const copy *c, size_t room)
{
    if (!c->to || c->count > room)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: %zu bytes do not fit into %zu at %p",
                         function, c->count, room, c->to);
    return check_covered(function, c);
}

aclError aclrtMemset(void *to, size_t room, int32_t value, size_t count)
{
    copy c = {to, NULL, count, value};
    aclError code = check_fill("aclrtMemset", &c, room);
    int chip = address_chip(to);

    if (code == ACL_SUCCESS && chip >= 0 && hang_lasts(chip))
        code = hang_wait(chip, NULL);
    return code == ACL_SUCCESS ? perform(&c, ACL_SUCCESS) : code;
}

aclError aclrtMemsetAsync(void *to, size_t room, int32_t value, size_t count, aclrtStream handle)
{
    copy c = {to, NULL, count, value};
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtMemsetAsync", &code);

    if (!s)
        return code;
    code = check_fill("aclrtMemsetAsync", &c, room);
    return code == ACL_SUCCESS ? stream_run(s, perform, &c, sizeof c) : code;
}
