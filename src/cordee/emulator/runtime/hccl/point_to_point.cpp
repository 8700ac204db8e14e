// HcclSend, HcclRecv, HcclBatchSendRecv, and groups of calls.
//
// Follows: CANN "HCCL API", chapters point-to-point operators and HcclGroupStart.
#include "element.h"
#include "messages.h"

namespace hccl {
namespace {

struct Grouped {
    std::unique_ptr<Operation> operation;
    aclrtStream stream;
};

thread_local int depth;
thread_local std::vector<Grouped> grouped;

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
    if (code == HCCL_SUCCESS && peer == communicator->rank && depth == 0)
        code = fail(HCCL_E_PARA, "%s: a rank cannot send to, or receive from, itself outside a batch",
                    name);
    if (code != HCCL_SUCCESS || count == 0)
        return code;
    std::vector<Message> all;
    all.push_back({sends, static_cast<char *>(buffer), count * element_bytes(type), type, peer, 0,
                   false, nullptr});
    return launch(std::make_unique<Messages>(communicator, name, std::move(all)), stream);
}

// All messages of a communicator become one batch on the first of their streams.
bool absorbed(std::vector<Grouped> &before, Grouped &next)
{
    Messages *messages = next.operation->as_messages();

    for (Grouped &earlier : before) {
        if (messages && earlier.operation->as_messages() &&
            earlier.operation->handle() == next.operation->handle()) {
            earlier.operation->as_messages()->take_over(*messages);
            return true;
        }
    }
    return false;
}

} // namespace

HcclResult launch(std::unique_ptr<Operation> operation, aclrtStream stream)
{
    if (depth == 0)
        return launch_now(std::move(operation), stream);
    grouped.push_back({std::move(operation), stream});
    return HCCL_SUCCESS;
}

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

HcclResult HcclGroupStart()
{
    depth++;
    return HCCL_SUCCESS;
}

HcclResult HcclGroupEnd()
{
    std::vector<Grouped> together;
    HcclResult first = HCCL_SUCCESS;

    if (depth == 0)
        return fail(HCCL_E_NOT_SUPPORT, "HcclGroupEnd without HcclGroupStart");
    if (--depth > 0)
        return HCCL_SUCCESS;
    std::vector<Grouped> all;
    all.swap(grouped);
    for (Grouped &next : all)
        if (!absorbed(together, next))
            together.push_back(std::move(next));
    for (Grouped &next : together) {
        const HcclResult code = launch_now(std::move(next.operation), next.stream);
        if (first == HCCL_SUCCESS)
            first = code;
    }
    return first;
}
