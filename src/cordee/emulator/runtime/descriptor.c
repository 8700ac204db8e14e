/* Descriptors of operator calls: tensors and data buffers.
 *
 * Follows: CANN "Operator API (single operator)", chapters on data types and their operations.
 */
#include <stdlib.h>
#include <string.h>

#include "chip.h"

enum { MAX_DIMS = 128, NAME = 128 };

struct aclDataBuffer {
    void *data;
    size_t size;
};

struct aclTensorDesc {
    aclDataType type;
    aclFormat format, storage_format;
    int dims, storage_dims;
    int64_t *shape, *storage_shape;
    char name[NAME];
    aclMemType placement;
};

aclDataBuffer *aclCreateDataBuffer(void *data, size_t size)
{
    aclDataBuffer *made = malloc(sizeof *made);

    if (made)
        *made = (aclDataBuffer){data, size};
    return made;
}

aclError aclDestroyDataBuffer(const aclDataBuffer *buffer)
{
    free((void *)(uintptr_t)buffer);
    return ACL_SUCCESS;
}

aclError aclUpdateDataBuffer(aclDataBuffer *buffer, void *data, size_t size)
{
    if (!buffer)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclUpdateDataBuffer: NULL");
    *buffer = (aclDataBuffer){data, size};
    return ACL_SUCCESS;
}

void *aclGetDataBufferAddr(const aclDataBuffer *buffer)
{
    return buffer ? buffer->data : NULL;
}

size_t aclGetDataBufferSizeV2(const aclDataBuffer *buffer)
{
    return buffer ? buffer->size : 0;
}

size_t aclDataTypeSize(aclDataType type)
{
    switch (type) {
    case ACL_INT8:
    case ACL_UINT8:
    case ACL_BOOL:
    case ACL_HIFLOAT8:
    case ACL_FLOAT8_E5M2:
    case ACL_FLOAT8_E4M3FN:
    case ACL_FLOAT8_E8M0:
        return 1;
    case ACL_FLOAT16:
    case ACL_BF16:
    case ACL_INT16:
    case ACL_UINT16:
        return 2;
    case ACL_FLOAT:
    case ACL_INT32:
    case ACL_UINT32:
    case ACL_COMPLEX32:
        return 4;
    case ACL_DOUBLE:
    case ACL_INT64:
    case ACL_UINT64:
    case ACL_COMPLEX64:
        return 8;
    case ACL_COMPLEX128:
        return 16;
    default:
        return 0; /* as documented for types of no whole number of bytes */
    }
}

static aclError set_shape(int64_t **shape, int *dims, int count, const int64_t *values)
{
    int64_t *copy;

    if (count < 0 || count > MAX_DIMS || (count > 0 && !values))
        return chip_fail(ACL_ERROR_INVALID_PARAM, "a shape of %d dimensions", count);
    copy = malloc(((size_t)count + 1) * sizeof *copy);
    if (!copy)
        return chip_fail(ACL_ERROR_BAD_ALLOC, "no host memory for a shape");
    if (count > 0)
        memcpy(copy, values, (size_t)count * sizeof *copy);
    free(*shape);
    *shape = copy;
    *dims = count;
    return ACL_SUCCESS;
}

aclTensorDesc *aclCreateTensorDesc(aclDataType type, int dims, const int64_t *shape,
                                   aclFormat format)
{
    aclTensorDesc *made = calloc(1, sizeof *made);

    if (!made)
        return NULL;
    made->type = type;
    made->format = made->storage_format = format;
    if (set_shape(&made->shape, &made->dims, dims, shape) != ACL_SUCCESS) {
        free(made);
        return NULL;
    }
    return made;
}

void aclDestroyTensorDesc(const aclTensorDesc *desc)
{
    if (!desc)
        return;
    free(desc->shape);
    free(desc->storage_shape);
    free((void *)(uintptr_t)desc);
}

aclDataType aclGetTensorDescType(const aclTensorDesc *desc)
{
    return desc ? desc->type : ACL_DT_UNDEFINED;
}

aclFormat aclGetTensorDescFormat(const aclTensorDesc *desc)
{
    return desc ? desc->format : ACL_FORMAT_UNDEFINED;
}

size_t aclGetTensorDescNumDims(const aclTensorDesc *desc)
{
    return desc ? (size_t)desc->dims : 0;
}

aclError aclGetTensorDescDimV2(const aclTensorDesc *desc, size_t index, int64_t *size)
{
    if (!desc || !size || index >= (size_t)desc->dims)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclGetTensorDescDimV2: dimension %zu", index);
    *size = desc->shape[index];
    return ACL_SUCCESS;
}

size_t aclGetTensorDescElementCount(const aclTensorDesc *desc)
{
    size_t count = desc ? 1 : 0;

    for (int i = 0; desc && i < desc->dims; i++)
        count *= (size_t)desc->shape[i];
    return count;
}

size_t aclGetTensorDescSize(const aclTensorDesc *desc)
{
    return desc ? aclGetTensorDescElementCount(desc) * aclDataTypeSize(desc->type) : 0;
}

void aclSetTensorDescName(aclTensorDesc *desc, const char *name)
{
    if (desc && name)
        strncpy(desc->name, name, sizeof desc->name - 1);
}

const char *aclGetTensorDescName(aclTensorDesc *desc)
{
    return desc ? desc->name : "";
}

aclError aclSetTensorFormat(aclTensorDesc *desc, aclFormat format)
{
    if (!desc)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclSetTensorFormat: NULL");
    desc->storage_format = format;
    return ACL_SUCCESS;
}

aclError aclSetTensorShape(aclTensorDesc *desc, int dims, const int64_t *shape)
{
    if (!desc)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclSetTensorShape: NULL");
    return set_shape(&desc->storage_shape, &desc->storage_dims, dims, shape);
}

aclError aclSetTensorPlaceMent(aclTensorDesc *desc, aclMemType type)
{
    if (!desc)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclSetTensorPlaceMent: NULL");
    desc->placement = type;
    return ACL_SUCCESS;
}
