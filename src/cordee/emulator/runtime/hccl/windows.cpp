// Memory that ranks register with a communicator before they use it.
//
// On hardware registered memory is reached without a copy. Here every transfer already reads the
// other rank's memory where it lies, so registration is kept and checked, and changes no speed.
//
// Follows: CANN "HCCL API", HcclCommRegister, HcclCommSetMemoryRange, HcclCommSymWinRegister.
#include <mutex>
#include <unordered_map>
#include <vector>

#include "cordee_work.h"
#include "communicator.h"

namespace hccl {
namespace {

struct Range {
    char *start;
    uint64_t bytes;

    bool holds(const void *p, uint64_t size) const
    {
        const auto *at = static_cast<const char *>(p);
        return at >= start && size <= bytes && at - start <= static_cast<long>(bytes - size);
    }
    bool meets(const void *p, uint64_t size) const
    {
        const auto *at = static_cast<const char *>(p);
        return at < start + bytes && start < at + size;
    }
};

// What one communicator has been told of.
struct Registered {
    std::vector<Range> windows, reserved, active;
};

std::mutex lock;

std::unordered_map<HcclComm, Registered> &table()
{
    static auto *all = new std::unordered_map<HcclComm, Registered>;
    return *all;
}

HcclResult check(const char *name, HcclComm comm, const void *p)
{
    if (!handle_get(comm) || !p)
        return fail(HCCL_E_PTR, "%s: not a live communicator, or NULL", name);
    return HCCL_SUCCESS;
}

bool remove(std::vector<Range> &ranges, const void *start)
{
    for (size_t i = 0; i < ranges.size(); i++)
        if (ranges[i].start == start) {
            ranges.erase(ranges.begin() + static_cast<long>(i));
            return true;
        }
    return false;
}

bool any_meets(const std::vector<Range> &ranges, const void *p, uint64_t bytes)
{
    for (const Range &range : ranges)
        if (range.meets(p, bytes))
            return true;
    return false;
}

HcclResult add_window(const char *name, HcclComm comm, void *start, uint64_t bytes, void **handle)
{
    if (HcclResult code = check(name, comm, start); code != HCCL_SUCCESS)
        return code;
    if (!handle || bytes == 0)
        return fail(HCCL_E_PARA, "%s: 0 bytes, or no place for the handle", name);
    if (!cordee_hold(start, bytes))
        return fail(HCCL_E_PARA, "%s: not all of it is device memory", name);
    cordee_let_go();
    std::lock_guard guard(lock);
    table()[comm].windows.push_back({static_cast<char *>(start), bytes});
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
    std::lock_guard guard(lock);
    remove(table()[comm].windows, handle); // an unknown one is no error, as documented
    return HCCL_SUCCESS;
}

HcclResult HcclCommExchangeMem(HcclComm comm, void *handle, uint32_t *peers, uint32_t count)
{
    if (HcclResult code = check("HcclCommExchangeMem", comm, peers); code != HCCL_SUCCESS)
        return code;
    const uint32_t ranks = handle_get(comm)->ranks();
    if (count == 0 || count > ranks)
        return fail(HCCL_E_PARA, "HcclCommExchangeMem: %u of %u ranks", count, ranks);
    std::lock_guard guard(lock);
    for (const Range &window : table()[comm].windows)
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
    if (HcclResult code = check("HcclCommSetMemoryRange", comm, start); code != HCCL_SUCCESS)
        return code;
    std::lock_guard guard(lock);
    if (any_meets(table()[comm].reserved, start, bytes))
        return fail(HCCL_E_PARA, "HcclCommSetMemoryRange: the range meets another");
    table()[comm].reserved.push_back({static_cast<char *>(start), bytes});
    return HCCL_SUCCESS;
}

HcclResult HcclCommUnsetMemoryRange(HcclComm comm, void *start)
{
    std::lock_guard guard(lock);
    Registered &known = table()[comm];
    for (const Range &range : known.reserved)
        if (range.start == start && any_meets(known.active, range.start, range.bytes))
            return fail(HCCL_E_PARA, "HcclCommUnsetMemoryRange: some of it is still active");
    return remove(known.reserved, start) ? HCCL_SUCCESS
                                         : fail(HCCL_E_PARA, "HcclCommUnsetMemoryRange: no such range");
}

HcclResult HcclCommActivateCommMemory(HcclComm comm, void *start, size_t bytes, size_t,
                                      aclrtDrvMemHandle, uint64_t)
{
    std::lock_guard guard(lock);
    Registered &known = table()[comm];
    bool inside = false;
    for (const Range &range : known.reserved)
        inside = inside || range.holds(start, bytes);
    if (!inside || any_meets(known.active, start, bytes))
        return fail(HCCL_E_PARA, "HcclCommActivateCommMemory: not inside a range, or active already");
    known.active.push_back({static_cast<char *>(start), bytes});
    return HCCL_SUCCESS;
}

HcclResult HcclCommDeactivateCommMemory(HcclComm comm, void *start)
{
    std::lock_guard guard(lock);
    return remove(table()[comm].active, start)
               ? HCCL_SUCCESS
               : fail(HCCL_E_PARA, "HcclCommDeactivateCommMemory: it is not active");
}
