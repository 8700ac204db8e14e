/* libhccl.so: communicators of one rank, in which every collective is a copy on its stream.
 *
 * A communicator of more ranks is refused when it is made, by name, so no collective can ever be
 * asked to reach another rank. C++ only because the vendor's header is.
 *
 * Follows: CANN "HCCL API (C)".
 */
#pragma GCC visibility push(default)
#include <hccl/hccl.h>
#pragma GCC visibility pop

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <acl/error_codes/rt_error_codes.h>

#include "cordee_work.h"

namespace {

constexpr uint32_t LIVE = 0x4cc10001, DEAD = 0xdead4cc1;

struct communicator {
    uint32_t magic;
    char name[COMM_NAME_MAX_LENGTH];
};

/* Explained on stderr too: HCCL's callers show codes, and never the text behind them. */
HcclResult refuse(HcclResult code, const char *what)
{
    cordee_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, what);
    fprintf(stderr, "cordee: HCCL: %s\n", what);
    return code;
}

size_t size_of(HcclDataType type)
{
    switch (type) {
    case HCCL_DATA_TYPE_INT8:
    case HCCL_DATA_TYPE_UINT8:
    case HCCL_DATA_TYPE_HIF8:
    case HCCL_DATA_TYPE_FP8E4M3:
    case HCCL_DATA_TYPE_FP8E5M2:
    case HCCL_DATA_TYPE_FP8E8M0:
        return 1;
    case HCCL_DATA_TYPE_INT16:
    case HCCL_DATA_TYPE_UINT16:
    case HCCL_DATA_TYPE_FP16:
    case HCCL_DATA_TYPE_BFP16:
        return 2;
    case HCCL_DATA_TYPE_INT32:
    case HCCL_DATA_TYPE_UINT32:
    case HCCL_DATA_TYPE_FP32:
        return 4;
    case HCCL_DATA_TYPE_INT64:
    case HCCL_DATA_TYPE_UINT64:
    case HCCL_DATA_TYPE_FP64:
        return 8;
    case HCCL_DATA_TYPE_INT128:
        return 16;
    default:
        return 0;
    }
}

communicator *live(HcclComm handle)
{
    auto *c = static_cast<communicator *>(handle);
    return c && c->magic == LIVE ? c : nullptr;
}

HcclResult open_communicator(uint32_t ranks, uint32_t rank, const char *name, HcclComm *made)
{
    if (!made || rank >= ranks)
        return refuse(HCCL_E_PARA, "a rank outside its communicator, or no place for the result");
    if (ranks != 1)
        return refuse(HCCL_E_NOT_SUPPORT, "communicators of more than one rank are not emulated");
    auto *c = static_cast<communicator *>(calloc(1, sizeof(communicator)));
    if (!c)
        return HCCL_E_MEMORY;
    c->magic = LIVE;
    snprintf(c->name, sizeof c->name, "%s", name && *name ? name : "cordee_one_rank");
    *made = c;
    return HCCL_SUCCESS;
}

/* What one rank sends is what it receives. */
HcclResult copy(const void *from, void *to, uint64_t count, HcclDataType type, HcclComm handle,
                aclrtStream stream)
{
    size_t bytes = count * size_of(type);

    if (!live(handle) || size_of(type) == 0 || (count != 0 && (!from || !to)))
        return refuse(HCCL_E_PARA, "no live communicator, an unknown data type, or a NULL buffer");
    if (bytes == 0 || from == to)
        return HCCL_SUCCESS;
    aclError code = aclrtMemcpyAsync(to, bytes, from, bytes, ACL_MEMCPY_DEVICE_TO_DEVICE, stream);
    return code == ACL_SUCCESS ? HCCL_SUCCESS : HCCL_E_RUNTIME;
}

const void *at(const void *base, const void *displacements, HcclDataType type)
{
    uint64_t first = displacements ? *static_cast<const uint64_t *>(displacements) : 0;
    return static_cast<const char *>(base) + first * size_of(type);
}

HcclResult check_peer(HcclComm handle, uint32_t rank)
{
    if (!live(handle) || rank != 0)
        return refuse(HCCL_E_PARA, "no live communicator, or a rank outside it");
    return refuse(HCCL_E_PARA, "a rank cannot send to, or receive from, itself");
}

HcclResult check_root(HcclComm handle, uint32_t root)
{
    return live(handle) && root == 0
               ? HCCL_SUCCESS
               : refuse(HCCL_E_PARA, "no live communicator, or a root outside it");
}

} // namespace

HcclResult HcclGetRootInfo(HcclRootInfo *info)
{
    if (!info)
        return refuse(HCCL_E_PTR, "HcclGetRootInfo: NULL");
    memset(info, 0, sizeof *info);
    snprintf(info->internal, sizeof info->internal, "cordee");
    return HCCL_SUCCESS;
}

HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                                HcclComm *made)
{
    return info ? open_communicator(ranks, rank, nullptr, made)
                : refuse(HCCL_E_PTR, "HcclCommInitRootInfo: NULL");
}

HcclResult HcclCommInitRootInfoConfig(uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                                      const HcclCommConfig *config, HcclComm *made)
{
    return info && config ? open_communicator(ranks, rank, config->hcclCommName, made)
                          : refuse(HCCL_E_PTR, "HcclCommInitRootInfoConfig: NULL");
}

HcclResult HcclCommInitClusterInfo(const char *, uint32_t, HcclComm *)
{
    return refuse(HCCL_E_NOT_SUPPORT, "ranks from a cluster file are not emulated");
}

HcclResult HcclCommInitClusterInfoConfig(const char *, uint32_t, HcclCommConfig *, HcclComm *)
{
    return refuse(HCCL_E_NOT_SUPPORT, "ranks from a cluster file are not emulated");
}

HcclResult HcclCreateSubCommConfig(HcclComm *parent, uint32_t ranks, uint32_t *numbers, uint64_t,
                                   uint32_t rank, HcclCommConfig *config, HcclComm *made)
{
    if (!parent || !live(*parent) || !numbers || !config)
        return refuse(HCCL_E_PARA, "HcclCreateSubCommConfig: no live communicator, or NULL");
    return open_communicator(ranks, rank, config->hcclCommName, made);
}

HcclResult HcclCommInitAll(uint32_t count, int32_t *devices, HcclComm *made)
{
    return devices && count == 1 ? open_communicator(1, 0, nullptr, made)
                                 : refuse(HCCL_E_NOT_SUPPORT, "HcclCommInitAll of several devices "
                                                              "is not emulated");
}

HcclResult HcclCommDestroy(HcclComm handle)
{
    communicator *c = live(handle);
    if (!c)
        return refuse(HCCL_E_PARA, "HcclCommDestroy: no live communicator");
    c->magic = DEAD; /* small, and kept: a stale handle is then recognised */
    return HCCL_SUCCESS;
}

HcclResult HcclGetCommName(HcclComm handle, char *name)
{
    communicator *c = live(handle);
    if (!c || !name)
        return refuse(HCCL_E_PARA, "HcclGetCommName: no live communicator, or NULL");
    snprintf(name, COMM_NAME_MAX_LENGTH, "%s", c->name);
    return HCCL_SUCCESS;
}

HcclResult HcclGetRankSize(HcclComm handle, uint32_t *size)
{
    if (!live(handle) || !size)
        return refuse(HCCL_E_PARA, "HcclGetRankSize: no live communicator, or NULL");
    *size = 1;
    return HCCL_SUCCESS;
}

HcclResult HcclGetRankId(HcclComm handle, uint32_t *rank)
{
    if (!live(handle) || !rank)
        return refuse(HCCL_E_PARA, "HcclGetRankId: no live communicator, or NULL");
    *rank = 0;
    return HCCL_SUCCESS;
}

HcclResult HcclGetCommAsyncError(HcclComm handle, HcclResult *error)
{
    if (!live(handle) || !error)
        return refuse(HCCL_E_PARA, "HcclGetCommAsyncError: no live communicator, or NULL");
    *error = HCCL_SUCCESS; /* copies report their errors through their stream */
    return HCCL_SUCCESS;
}

/* All settings of a communicator may be given; none of them changes what one rank does. */
uint32_t HcclGetCommConfigCapability()
{
    return HCCL_COMM_CONFIG_RESERVED;
}

/* How reductions are ordered: with one rank there is nothing to order. */
HcclResult HcclSetConfig(HcclConfig, HcclConfigValue)
{
    return HCCL_SUCCESS;
}

const char *HcclGetErrorString(HcclResult code)
{
    static const char *const names[] = {
        "no error", "parameter error", "empty pointer", "memory error", "internal error",
        "not support feature", "not found specific resource", "resource unavailable",
        "call system interface error", "timeout", "open file fail", "tcp connect fail",
        "roce connect fail", "tcp transfer fail", "roce transfer fail", "call runtime api fail",
        "call driver api fail", "call profiling api fail", "call cce api fail",
        "call network api fail", "try again", "error CQE"};
    size_t number = static_cast<size_t>(code);
    return number < sizeof names / sizeof *names ? names[number] : "unknown error";
}

HcclResult HcclAllReduce(void *from, void *to, uint64_t count, HcclDataType type, HcclReduceOp,
                         HcclComm handle, aclrtStream stream)
{
    return copy(from, to, count, type, handle, stream);
}

HcclResult HcclReduce(void *from, void *to, uint64_t count, HcclDataType type, HcclReduceOp,
                      uint32_t root, HcclComm handle, aclrtStream stream)
{
    HcclResult code = check_root(handle, root);
    return code == HCCL_SUCCESS ? copy(from, to, count, type, handle, stream) : code;
}

HcclResult HcclReduceScatter(void *from, void *to, uint64_t count, HcclDataType type, HcclReduceOp,
                             HcclComm handle, aclrtStream stream)
{
    return copy(from, to, count, type, handle, stream);
}

HcclResult HcclReduceScatterV(void *from, const void *, const void *displacements, void *to,
                              uint64_t count, HcclDataType type, HcclReduceOp, HcclComm handle,
                              aclrtStream stream)
{
    return copy(at(from, displacements, type), to, count, type, handle, stream);
}

HcclResult HcclAllGather(void *from, void *to, uint64_t count, HcclDataType type, HcclComm handle,
                         aclrtStream stream)
{
    return copy(from, to, count, type, handle, stream);
}

HcclResult HcclAllGatherV(void *from, uint64_t count, void *to, const void *,
                          const void *displacements, HcclDataType type, HcclComm handle,
                          aclrtStream stream)
{
    void *place = const_cast<void *>(at(to, displacements, type));
    return copy(from, place, count, type, handle, stream);
}

HcclResult HcclBroadcast(void *buffer, uint64_t count, HcclDataType type, uint32_t root,
                         HcclComm handle, aclrtStream stream)
{
    HcclResult code = check_root(handle, root);
    return code == HCCL_SUCCESS ? copy(buffer, buffer, count, type, handle, stream) : code;
}

HcclResult HcclScatter(void *from, void *to, uint64_t count, HcclDataType type, uint32_t root,
                       HcclComm handle, aclrtStream stream)
{
    HcclResult code = check_root(handle, root);
    return code == HCCL_SUCCESS ? copy(from, to, count, type, handle, stream) : code;
}

HcclResult HcclBarrier(HcclComm handle, aclrtStream)
{
    return check_root(handle, 0);
}

HcclResult HcclAlltoAll(const void *from, uint64_t count, HcclDataType type, const void *to,
                        uint64_t, HcclDataType, HcclComm handle, aclrtStream stream)
{
    return copy(from, const_cast<void *>(to), count, type, handle, stream);
}

HcclResult HcclAlltoAllV(const void *from, const void *counts, const void *from_displacements,
                         HcclDataType type, const void *to, const void *,
                         const void *to_displacements, HcclDataType to_type, HcclComm handle,
                         aclrtStream stream)
{
    if (!counts)
        return refuse(HCCL_E_PTR, "HcclAlltoAllV: NULL");
    void *place = const_cast<void *>(at(to, to_displacements, to_type));
    return copy(at(from, from_displacements, type), place, *static_cast<const uint64_t *>(counts),
                type, handle, stream);
}

HcclResult HcclAlltoAllVC(const void *from, const void *matrix, HcclDataType type, const void *to,
                          HcclDataType, HcclComm handle, aclrtStream stream)
{
    if (!matrix)
        return refuse(HCCL_E_PTR, "HcclAlltoAllVC: NULL");
    return copy(from, const_cast<void *>(to), *static_cast<const uint64_t *>(matrix), type, handle,
                stream);
}

HcclResult HcclSend(void *, uint64_t, HcclDataType, uint32_t rank, HcclComm handle, aclrtStream)
{
    return check_peer(handle, rank);
}

HcclResult HcclRecv(void *, uint64_t, HcclDataType, uint32_t rank, HcclComm handle, aclrtStream)
{
    return check_peer(handle, rank);
}

HcclResult HcclBatchSendRecv(HcclSendRecvItem *, uint32_t, HcclComm handle, aclrtStream)
{
    return check_peer(handle, 0);
}
