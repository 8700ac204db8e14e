// Memory that ranks register with a communicator before they use it.
//
// On hardware registered memory is reached without a copy. Here every transfer already reads the
// other rank's memory where it lies, so registration is kept and checked, and changes no speed.
//
// Follows: CANN "HCCL API", HcclCommRegister, HcclCommSetMemoryRange, HcclCommSymWinRegister.
#include <vector>

#include "cordee_work.h"
#include "communicator.h"

namespace hccl {
namespace {

HcclResult open(const char *name, HcclComm comm, const void *p, Handle *found)
{
    *found = handle_get(comm);
    return *found && p ? HCCL_SUCCESS
                       : fail(HCCL_E_PTR, "%s: not a live communicator, or NULL", name);
}

bool remove(std::vector<Stretch> &ranges, const void *start)
{
    for (size_t i = 0; i < ranges.size(); i++)
        if (ranges[i].start == start) {
            ranges.erase(ranges.begin() + static_cast<long>(i));
            return true;
        }
    return false;
}

bool any_meets(const std::vector<Stretch> &ranges, const void *p, uint64_t bytes)
{
    for (const Stretch &range : ranges)
        if (range.meets(p, bytes))
            return true;
    return false;
}

HcclResult add_window(const char *name, HcclComm comm, void *start, uint64_t bytes, void **handle)
{
    Handle communicator;
    if (HcclResult code = open(name, comm, start, &communicator); code != HCCL_SUCCESS)
        return code;
    if (!handle || bytes == 0)
        return fail(HCCL_E_PARA, "%s: 0 bytes, or no place for the handle", name);
    if (!cordee_hold(start, bytes))
        return fail(HCCL_E_PARA, "%s: not all of it is device memory", name);
    cordee_let_go();
    std::lock_guard guard(communicator->windows.lock);
    communicator->windows.registered.push_back({static_cast<char *>(start), bytes});
    *handle = start;
    return HCCL_SUCCESS;
}

} // namespace
} // namespace hccl

using namespace hccl;

HcclResult HcclCommRegister(HcclComm comm, void *start, uint64_t bytes, void **handle, uint32_t)
{
    return add_window("HcclCommRegister", comm, start, bytes, handle);
}

HcclResult HcclCommDeregister(HcclComm comm, void *handle)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommDeregister", comm, handle, &communicator); code != HCCL_SUCCESS)
        return code;
    std::lock_guard guard(communicator->windows.lock);
    remove(communicator->windows.registered, handle); // an unknown one is no error, as documented
    return HCCL_SUCCESS;
}

HcclResult HcclCommExchangeMem(HcclComm comm, void *handle, uint32_t *peers, uint32_t count)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommExchangeMem", comm, peers, &communicator); code != HCCL_SUCCESS)
        return code;
    const uint32_t ranks = communicator->ranks();
    if (count == 0 || count > ranks)
        return fail(HCCL_E_PARA, "HcclCommExchangeMem: %u of %u ranks", count, ranks);
    std::lock_guard guard(communicator->windows.lock);
    for (const Stretch &window : communicator->windows.registered)
        if (window.start == handle)
            return HCCL_SUCCESS;
    return fail(HCCL_E_NOT_FOUND, "HcclCommExchangeMem: not a registered window");
}

extern "C" {

__attribute__((visibility("default"))) HcclResult HcclCommSymWinRegister(HcclComm comm, void *start,
                                                                        uint64_t bytes, void **handle,
                                                                        uint32_t)
{
    return add_window("HcclCommSymWinRegister", comm, start, bytes, handle);
}

__attribute__((visibility("default"))) HcclResult HcclCommSymWinDeregister(HcclComm comm, void *handle)
{
    return HcclCommDeregister(comm, handle);
}
}

HcclResult HcclCommSetMemoryRange(HcclComm comm, void *start, size_t bytes, size_t, uint64_t)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommSetMemoryRange", comm, start, &communicator); code != HCCL_SUCCESS)
        return code;
    std::lock_guard guard(communicator->windows.lock);
    if (any_meets(communicator->windows.reserved, start, bytes))
        return fail(HCCL_E_PARA, "HcclCommSetMemoryRange: the range meets another");
    communicator->windows.reserved.push_back({static_cast<char *>(start), bytes});
    return HCCL_SUCCESS;
}

HcclResult HcclCommUnsetMemoryRange(HcclComm comm, void *start)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommUnsetMemoryRange", comm, start, &communicator); code != HCCL_SUCCESS)
        return code;
    Windows &known = communicator->windows;
    std::lock_guard guard(known.lock);
    for (const Stretch &range : known.reserved)
        if (range.start == start && any_meets(known.active, range.start, range.bytes))
            return fail(HCCL_E_PARA, "HcclCommUnsetMemoryRange: some of it is still active");
    return remove(known.reserved, start) ? HCCL_SUCCESS
                                         : fail(HCCL_E_PARA, "HcclCommUnsetMemoryRange: no such range");
}

HcclResult HcclCommActivateCommMemory(HcclComm comm, void *start, size_t bytes, size_t,
                                      aclrtDrvMemHandle, uint64_t)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommActivateCommMemory", comm, start, &communicator); code != HCCL_SUCCESS)
        return code;
    Windows &known = communicator->windows;
    std::lock_guard guard(known.lock);
    bool inside = false;
    for (const Stretch &range : known.reserved)
        inside = inside || range.holds(start, bytes);
    if (!inside || any_meets(known.active, start, bytes))
        return fail(HCCL_E_PARA, "HcclCommActivateCommMemory: not inside a range, or active already");
    known.active.push_back({static_cast<char *>(start), bytes});
    return HCCL_SUCCESS;
}

HcclResult HcclCommDeactivateCommMemory(HcclComm comm, void *start)
{
    Handle communicator;
    if (HcclResult code = open("HcclCommDeactivateCommMemory", comm, start, &communicator);
        code != HCCL_SUCCESS)
        return code;
    std::lock_guard guard(communicator->windows.lock);
    return remove(communicator->windows.active, start)
               ? HCCL_SUCCESS
               : fail(HCCL_E_PARA, "HcclCommDeactivateCommMemory: it is not active");
}
