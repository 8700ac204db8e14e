/* Writing a word of device memory in the order of a stream, and waiting for one.
 *
 * Follows: CANN "Runtime API", chapter Stream Management (value write and wait).
 */
#include <time.h>

#include "stream.h"

enum { POLL_NS = 50000 };

typedef struct word {
    uint64_t *at;
    uint64_t value;
    uint32_t condition;
    const stream *of;
} word;

static aclError check(const char *function, const void *p)
{
    bool covered;

    address_hold();
    covered = address_covers(p, sizeof(uint64_t));
    address_let_go();
    if ((uintptr_t)p % sizeof(uint64_t) != 0 || !covered)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: %p is no aligned word of device memory",
                         function, p);
    return ACL_SUCCESS;
}

/* false: the memory is gone. */
static bool load(const word *w, uint64_t *value)
{
    bool covered;

    address_hold();
    covered = address_covers(w->at, sizeof *w->at);
    if (covered)
        *value = __atomic_load_n((uint64_t *)space_shadow((uintptr_t)w->at), __ATOMIC_ACQUIRE);
    address_let_go();
    return covered;
}

static aclError gone(void)
{
    return chip_fail(ACL_ERROR_RT_SYS_DMA, "a word of device memory was freed while in use");
}

static aclError store(void *argument, aclError before)
{
    const word *w = argument;
    bool covered;

    if (before != ACL_SUCCESS)
        return before;
    address_hold();
    covered = address_covers(w->at, sizeof *w->at);
    if (covered)
        __atomic_store_n((uint64_t *)space_shadow((uintptr_t)w->at), w->value, __ATOMIC_RELEASE);
    address_let_go();
    return covered ? ACL_SUCCESS : gone();
}

static bool holds(const word *w, uint64_t value)
{
    switch (w->condition) {
    case ACL_STREAM_WAIT_VALUE_GEQ:
        return (int64_t)(value - w->value) >= 0;
    case ACL_STREAM_WAIT_VALUE_EQ:
        return value == w->value;
    case ACL_STREAM_WAIT_VALUE_AND:
        return (value & w->value) != 0;
    default:
        return ~(value | w->value) != 0;
    }
}

static aclError await(void *argument, aclError before)
{
    const struct timespec pause = {0, POLL_NS};
    const word *w = argument;
    uint64_t value;

    while (before == ACL_SUCCESS) {
        if (!load(w, &value))
            return gone();
        if (holds(w, value) || stream_interrupted(w->of) != ACL_SUCCESS)
            break;
        nanosleep(&pause, NULL);
        before = machine_health(stream_chip(w->of));
    }
    return before;
}

aclError aclrtValueWrite(void *at, uint64_t value, uint32_t flag, aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtValueWrite", &code);
    word w = {at, value, 0, s};

    if (!s)
        return code;
    if (flag != 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtValueWrite: flag %u", flag);
    code = check("aclrtValueWrite", at);
    return code == ACL_SUCCESS ? stream_run(s, store, &w, sizeof w) : code;
}

aclError aclrtValueWait(void *at, uint64_t value, uint32_t flag, aclrtStream handle)
{
    aclError code = ACL_SUCCESS;
    stream *s = stream_of(handle, "aclrtValueWait", &code);
    word w = {at, value, flag, s};

    if (!s)
        return code;
    if (flag > ACL_STREAM_WAIT_VALUE_NOR)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtValueWait: flag %u", flag);
    code = check("aclrtValueWait", at);
    return code == ACL_SUCCESS ? stream_queue_copy(s, await, &w, sizeof w) : code;
}
