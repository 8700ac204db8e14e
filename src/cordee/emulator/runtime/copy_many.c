/* Copies of many pieces: rectangles and batches, made of the simple copy.
 *
 * Follows: CANN "Runtime API", chapter Memory Management.
 */
#include "chip.h"
#include "stream.h"

static aclError check_rectangle(const char *function, size_t to_pitch, size_t from_pitch,
                                size_t width)
{
    if (width > to_pitch || width > from_pitch)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: rows of %zu bytes, pitches of %zu and "
                         "%zu", function, width, to_pitch, from_pitch);
    return ACL_SUCCESS;
}

aclError aclrtMemcpy2d(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                       size_t height, aclrtMemcpyKind kind)
{
    aclError code = check_rectangle("aclrtMemcpy2d", to_pitch, from_pitch, width);

    for (size_t row = 0; row < height && code == ACL_SUCCESS; row++)
        code = aclrtMemcpy((char *)to + row * to_pitch, width,
                           (const char *)from + row * from_pitch, width, kind);
    return code;
}

aclError aclrtMemcpy2dAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                            size_t width, size_t height, aclrtMemcpyKind kind, aclrtStream handle)
{
    aclError code = check_rectangle("aclrtMemcpy2dAsync", to_pitch, from_pitch, width);

    for (size_t row = 0; row < height && code == ACL_SUCCESS; row++)
        code = aclrtMemcpyAsync((char *)to + row * to_pitch, width,
                                (const char *)from + row * from_pitch, width, kind, handle);
    return code;
}

/* Attribute that holds for copy number i: the last whose first copy is not after it. */
static const aclrtMemcpyBatchAttr *attribute_of(size_t i, const aclrtMemcpyBatchAttr *attributes,
                                                const size_t *firsts, size_t count)
{
    size_t found = 0;

    while (found + 1 < count && firsts[found + 1] <= i)
        found++;
    return &attributes[found];
}

static aclrtMemcpyKind kind_of(const aclrtMemcpyBatchAttr *attribute)
{
    bool to = attribute->dstLoc.type == ACL_MEM_LOCATION_TYPE_DEVICE;
    bool from = attribute->srcLoc.type == ACL_MEM_LOCATION_TYPE_DEVICE;

    if (to)
        return from ? ACL_MEMCPY_DEVICE_TO_DEVICE : ACL_MEMCPY_HOST_TO_DEVICE;
    return from ? ACL_MEMCPY_DEVICE_TO_HOST : ACL_MEMCPY_HOST_TO_HOST;
}

typedef struct batch {
    void **to, **from;
    size_t *rooms, *sizes;
    size_t count;
    aclrtMemcpyBatchAttr *attributes;
    size_t *firsts;
    size_t attribute_count;
} batch;

static aclError check_batch(const char *function, const batch *b)
{
    if (!b->to || !b->from || !b->rooms || !b->sizes || !b->attributes || !b->firsts ||
        b->count == 0 || b->attribute_count == 0 || b->attribute_count > b->count ||
        b->firsts[0] != 0)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: a list is missing or empty", function);
    return ACL_SUCCESS;
}

static aclError copy_batch(const char *function, const batch *b, size_t *failed,
                           aclrtStream handle, bool wait)
{
    aclError code = check_batch(function, b);

    if (failed)
        *failed = SIZE_MAX;
    for (size_t i = 0; i < b->count && code == ACL_SUCCESS; i++) {
        aclrtMemcpyKind kind =
            kind_of(attribute_of(i, b->attributes, b->firsts, b->attribute_count));
        code = wait ? aclrtMemcpy(b->to[i], b->rooms[i], b->from[i], b->sizes[i], kind)
                    : aclrtMemcpyAsync(b->to[i], b->rooms[i], b->from[i], b->sizes[i], kind, handle);
        if (code != ACL_SUCCESS && failed)
            *failed = i;
    }
    return code;
}

aclError aclrtMemcpyBatch(void **to, size_t *rooms, void **from, size_t *sizes, size_t count,
                          aclrtMemcpyBatchAttr *attributes, size_t *firsts, size_t attribute_count,
                          size_t *failed)
{
    batch b = {to, from, rooms, sizes, count, attributes, firsts, attribute_count};

    return copy_batch("aclrtMemcpyBatch", &b, failed, NULL, true);
}

aclError aclrtMemcpyBatchAsync(void **to, size_t *rooms, void **from, size_t *sizes, size_t count,
                               aclrtMemcpyBatchAttr *attributes, size_t *firsts,
                               size_t attribute_count, size_t *failed, aclrtStream handle)
{
    batch b = {to, from, rooms, sizes, count, attributes, firsts, attribute_count};

    return copy_batch("aclrtMemcpyBatchAsync", &b, failed, handle, false);
}

/* Moving lines between cache and memory: the emulated chip has no cache to fill or to empty. */
aclError aclrtCmoAsync(void *from, size_t size, aclrtCmoType type, aclrtStream handle)
{
    aclError code = ACL_SUCCESS;

    if ((int)type < ACL_RT_CMO_TYPE_PREFETCH || type > ACL_RT_CMO_TYPE_FLUSH)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtCmoAsync: type %d", (int)type);
    if (!stream_of(handle, "aclrtCmoAsync", &code))
        return code;
    return aclrtMemFlush(from, size);
}
