// HcclSend, HcclRecv, HcclBatchSendRecv.
//
// Follows: CANN "HCCL API", chapter point-to-point operators.
#include "element.h"
#include "group.h"
#include "messages.h"

namespace hccl {
namespace {

HcclResult check_message(const char *name, const Communicator &communicator, const void *buffer,
                         uint64_t count, HcclDataType type, uint32_t peer)
{
    if (peer >= communicator.ranks())
        return fail(HCCL_E_PARA, "%s: rank %u of %u ranks", name, peer, communicator.ranks());
    if (!buffer && count > 0)
        return fail(HCCL_E_PTR, "%s: the buffer is NULL", name);
    return check_movable(name, type);
}

HcclResult one(const char *name, bool sends, void *buffer, uint64_t count, HcclDataType type,
               uint32_t peer, HcclComm comm, aclrtStream stream)
{
    const Handle communicator = handle_get(comm);

    if (!communicator)
        return fail(HCCL_E_PARA, "%s: not a live communicator", name);
    HcclResult code = check_message(name, *communicator, buffer, count, type, peer);
    if (code == HCCL_SUCCESS)
        code = check_usable(communicator);
    if (code == HCCL_SUCCESS && peer == communicator->rank && !group_is_open())
        code = fail(HCCL_E_PARA, "%s: a rank cannot send to, or receive from, itself outside a batch",
                    name);
    if (code != HCCL_SUCCESS || count == 0)
        return code;
    std::vector<Message> all;
    all.push_back({sends, static_cast<char *>(buffer), count * element_bytes(type), type, peer, 0,
                   false, nullptr});
    return launch(std::make_unique<Messages>(communicator, name, std::move(all)), stream);
}

} // namespace
} // namespace hccl

using namespace hccl;

HcclResult HcclSend(void *buffer, uint64_t count, HcclDataType type, uint32_t to, HcclComm comm,
                    aclrtStream stream)
{
    return one("HcclSend", true, buffer, count, type, to, comm, stream);
}

HcclResult HcclRecv(void *buffer, uint64_t count, HcclDataType type, uint32_t from, HcclComm comm,
                    aclrtStream stream)
{
    return one("HcclRecv", false, buffer, count, type, from, comm, stream);
}

HcclResult HcclBatchSendRecv(HcclSendRecvItem *items, uint32_t count, HcclComm comm,
                             aclrtStream stream)
{
    const char *name = "HcclBatchSendRecv";
    const Handle communicator = handle_get(comm);
    std::vector<Message> all;

    if (!communicator)
        return fail(HCCL_E_PARA, "%s: not a live communicator", name);
    if (!items && count > 0)
        return fail(HCCL_E_PTR, "%s: the list is NULL", name);
    if (HcclResult code = check_usable(communicator); code != HCCL_SUCCESS)
        return code;
    for (uint32_t i = 0; i < count; i++) {
        const HcclSendRecvItem &item = items[i];
        if (item.sendRecvType > HCCL_RECV)
            return fail(HCCL_E_PARA, "%s: item %u is neither a send nor a receive", name, i);
        HcclResult code = check_message(name, *communicator, item.buf, item.count, item.dataType,
                                        item.remoteRank);
        if (code != HCCL_SUCCESS)
            return code;
        all.push_back({item.sendRecvType == HCCL_SEND, static_cast<char *>(item.buf),
                       item.count * element_bytes(item.dataType), item.dataType, item.remoteRank, 0,
                       false, nullptr});
    }
    if (all.empty())
        return HCCL_SUCCESS;
    return launch(std::make_unique<Messages>(communicator, name, std::move(all)), stream);
}
