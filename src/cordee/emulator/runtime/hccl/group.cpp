// Groups of calls: messages become batches, communicators are made side by side, collectives end.
//
// Follows: CANN "HCCL API", HcclGroupStart and HcclGroupEnd.
#include "group.h"

#include <acl/error_codes/rt_error_codes.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cordee_work.h"
#include "messages.h"

namespace hccl {
namespace {

struct Grouped {
    std::unique_ptr<Operation> operation;
    aclrtStream stream;
};

struct Creation {
    std::function<HcclResult()> make;
    aclrtContext context;
};

thread_local int depth;
thread_local std::vector<Grouped> grouped;
thread_local std::vector<Creation> creations;

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

// Each waits for the other ranks, some of which may be in the same group.
HcclResult create_all(const std::vector<Creation> &all)
{
    std::vector<HcclResult> codes(all.size(), HCCL_SUCCESS);
    std::vector<std::string> whys(all.size());
    std::vector<std::thread> threads;

    for (size_t i = 0; i < all.size(); i++)
        threads.emplace_back([&, i] {
            codes[i] = aclrtSetCurrentContext(all[i].context) == ACL_SUCCESS ? all[i].make()
                                                                              : HCCL_E_RUNTIME;
            if (const char *why = aclGetRecentErrMsg())
                whys[i] = why;
        });
    for (std::thread &thread : threads)
        thread.join();
    for (size_t i = 0; i < all.size(); i++) {
        if (codes[i] == HCCL_SUCCESS)
            continue;
        cordee_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, whys[i].c_str());
        return codes[i];
    }
    return HCCL_SUCCESS;
}

// Collectives are done when their group ends, messages are on their way: so HCCL's own
// hccl_group.cc has it, and the adapter's events, which it records within the group, rely on it.
HcclResult launch_all(std::vector<Grouped> &all)
{
    std::vector<Grouped> together;
    std::set<aclrtStream> collective;
    HcclResult first = HCCL_SUCCESS;

    for (Grouped &next : all)
        if (!absorbed(together, next))
            together.push_back(std::move(next));
    for (Grouped &next : together) {
        if (!next.operation->as_messages())
            collective.insert(next.stream);
        const HcclResult code = launch_now(std::move(next.operation), next.stream);
        if (first == HCCL_SUCCESS)
            first = code;
    }
    for (aclrtStream stream : collective)
        if (aclrtSynchronizeStream(stream) != ACL_SUCCESS && first == HCCL_SUCCESS)
            first = HCCL_E_RUNTIME;
    return first;
}

} // namespace

bool group_is_open()
{
    return depth > 0;
}

HcclResult group_add_creation(std::function<HcclResult()> creation)
{
    aclrtContext context = nullptr;

    if (aclrtGetCurrentContext(&context) != ACL_SUCCESS)
        return fail(HCCL_E_RUNTIME, "this thread uses no device");
    creations.push_back({std::move(creation), context});
    return HCCL_SUCCESS;
}

HcclResult launch(std::unique_ptr<Operation> operation, aclrtStream stream)
{
    if (!group_is_open())
        return launch_now(std::move(operation), stream);
    grouped.push_back({std::move(operation), stream});
    return HCCL_SUCCESS;
}

} // namespace hccl

using namespace hccl;

HcclResult HcclGroupStart()
{
    depth++;
    return HCCL_SUCCESS;
}

HcclResult HcclGroupEnd()
{
    std::vector<Creation> made;
    std::vector<Grouped> all;

    if (depth == 0)
        return fail(HCCL_E_NOT_SUPPORT, "HcclGroupEnd without HcclGroupStart");
    if (--depth > 0)
        return HCCL_SUCCESS;
    made.swap(creations);
    all.swap(grouped);
    const HcclResult created = create_all(made);
    const HcclResult launched = launch_all(all);
    return created == HCCL_SUCCESS ? launched : created;
}
