// Calls that make, describe and end communicators.
//
// Follows: CANN "HCCL API", chapter communicator management.
#include <string.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "cordee_work.h"
#include "creation.h"
#include "rank_table.h"

namespace hccl {
namespace {

constexpr uint64_t kRootMagic = 0x544f4f5245454443u;

// What lies in an HcclRootInfo.
struct Root {
    uint64_t magic;
    Meeting meeting;
};

HcclResult put_root(HcclRootInfo *info, const char *function)
{
    Root root = {kRootMagic, {}};

    if (!info)
        return fail(HCCL_E_PTR, "%s: NULL", function);
    const HcclResult code = switchboard_address(&root.meeting.address);
    root.meeting.identity = identity_random();
    memset(info, 0, sizeof *info);
    memcpy(info->internal, &root, sizeof root);
    return code;
}

HcclResult from_root(const char *function, uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                     const Wishes &wishes, HcclComm *made)
{
    Root root;

    if (!info)
        return fail(HCCL_E_PTR, "%s: NULL", function);
    memcpy(&root, info->internal, sizeof root);
    if (root.magic != kRootMagic)
        return fail(HCCL_E_PARA, "%s: not a root info of HcclGetRootInfo", function);
    return create(root.meeting, ranks, rank, wishes, made);
}

// Ranks of a part meet at the first of them, in the place that only they know.
HcclResult from_parent(const Communicator &parent, uint32_t ranks, const uint32_t *numbers,
                       uint64_t number, uint32_t rank, Wishes wishes, HcclComm *made)
{
    std::vector<uint64_t> words = {number, ranks};
    for (uint32_t i = 0; i < ranks; i++) {
        if (numbers[i] >= parent.ranks())
            return fail(HCCL_E_PARA, "HcclCreateSubCommConfig: rank %u of %u ranks", numbers[i],
                        parent.ranks());
        words.push_back(numbers[i]);
    }
    if (rank >= ranks || numbers[rank] != parent.rank)
        return fail(HCCL_E_PARA, "HcclCreateSubCommConfig: rank %u of the part is not this rank, %u",
                    rank, parent.rank);
    if (wishes.name.empty())
        wishes.name = parent.name + "_sub_" + std::to_string(number);
    const Meeting meeting = {parent.members[numbers[0]].address, "",
                             identity_of(parent.identity, words.data(), words.size())};
    return create(meeting, ranks, rank, wishes, made);
}

} // namespace
} // namespace hccl

using namespace hccl;

HcclResult HcclGetRootInfo(HcclRootInfo *info)
{
    return put_root(info, "HcclGetRootInfo");
}

HcclResult HcclGetRootInfoScalable(HcclRootInfo *info)
{
    return put_root(info, "HcclGetRootInfoScalable");
}

HcclResult HcclCommInitRootInfo(uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                                HcclComm *made)
{
    return from_root("HcclCommInitRootInfo", ranks, info, rank, wishes_of_environment(), made);
}

HcclResult HcclCommInitRootInfoConfig(uint32_t ranks, const HcclRootInfo *info, uint32_t rank,
                                      const HcclCommConfig *config, HcclComm *made)
{
    Wishes wishes = wishes_of_environment();

    if (!config)
        return fail(HCCL_E_PARA, "EI0003: HcclCommInitRootInfoConfig: the configuration is NULL");
    if (HcclResult code = read_wishes(config, &wishes); code != HCCL_SUCCESS)
        return code;
    return from_root("HcclCommInitRootInfoConfig", ranks, info, rank, wishes, made);
}

// Several roots share the work of a large job; here the first does it all.
HcclResult HcclCommInitRootInfoScalable(uint32_t ranks, uint32_t roots, const HcclRootInfo *infos,
                                        uint32_t rank, uint32_t, const HcclCommConfig *config,
                                        HcclComm *made)
{
    if (roots == 0)
        return fail(HCCL_E_PARA, "HcclCommInitRootInfoScalable: no root");
    return HcclCommInitRootInfoConfig(ranks, infos, rank, config, made);
}

HcclResult HcclCommInitClusterInfoConfig(const char *path, uint32_t rank, HcclCommConfig *config,
                                         HcclComm *made)
{
    Wishes wishes = wishes_of_environment();
    uint32_t ranks;
    Meeting meeting;

    if (config)
        if (HcclResult code = read_wishes(config, &wishes); code != HCCL_SUCCESS)
            return code;
    if (wishes.name.empty())
        wishes.name = "hccl_world_group";
    if (HcclResult code = read_rank_table(path, rank, &ranks, &meeting); code != HCCL_SUCCESS)
        return code;
    return create(meeting, ranks, rank, wishes, made);
}

HcclResult HcclCommInitClusterInfo(const char *path, uint32_t rank, HcclComm *made)
{
    return HcclCommInitClusterInfoConfig(path, rank, nullptr, made);
}

HcclResult HcclCreateSubCommConfig(HcclComm *comm, uint32_t ranks, uint32_t *numbers,
                                   uint64_t number, uint32_t rank, HcclCommConfig *config,
                                   HcclComm *made)
{
    const Handle parent = comm ? handle_get(*comm) : nullptr;
    Wishes wishes = wishes_of_environment();

    if (!parent || !config || !made)
        return fail(HCCL_E_PARA, "HcclCreateSubCommConfig: no live communicator, or NULL");
    if (!numbers && number == 0xFFFFFFFF) {
        *made = nullptr; // this rank is in no part
        return HCCL_SUCCESS;
    }
    if (!numbers || ranks == 0)
        return fail(HCCL_E_PARA, "HcclCreateSubCommConfig: no ranks");
    if (HcclResult code = read_wishes(config, &wishes); code != HCCL_SUCCESS)
        return code;
    return from_parent(*parent, ranks, numbers, number, rank, wishes, made);
}

HcclResult HcclCommInitAll(uint32_t count, int32_t *devices, HcclComm *made)
{
    HcclRootInfo info;
    std::vector<HcclResult> codes(count, HCCL_SUCCESS);
    std::vector<std::thread> threads;

    if (!devices || !made || count == 0)
        return fail(HCCL_E_PARA, "HcclCommInitAll: no devices, or NULL");
    if (HcclResult code = put_root(&info, "HcclCommInitAll"); code != HCCL_SUCCESS)
        return code;
    for (uint32_t rank = 0; rank < count; rank++)
        threads.emplace_back([&, rank] {
            codes[rank] = aclrtSetDevice(devices[rank]) == ACL_SUCCESS
                              ? HcclCommInitRootInfo(count, &info, rank, &made[rank])
                              : HCCL_E_RUNTIME;
        });
    for (std::thread &thread : threads)
        thread.join();
    for (HcclResult code : codes)
        if (code != HCCL_SUCCESS)
            return code;
    return HCCL_SUCCESS;
}

HcclResult HcclCommDestroy(HcclComm comm)
{
    return handle_close(comm) ? HCCL_SUCCESS
                              : fail(HCCL_E_PARA, "HcclCommDestroy: not a live communicator");
}

HcclResult HcclGetCommName(HcclComm comm, char *name)
{
    const Handle communicator = handle_get(comm);

    if (!communicator || !name)
        return fail(HCCL_E_PARA, "HcclGetCommName: not a live communicator, or NULL");
    snprintf(name, COMM_NAME_MAX_LENGTH, "%s", communicator->name.c_str());
    return HCCL_SUCCESS;
}

HcclResult HcclGetRankSize(HcclComm comm, uint32_t *size)
{
    const Handle communicator = handle_get(comm);

    if (!communicator || !size)
        return fail(HCCL_E_PARA, "HcclGetRankSize: not a live communicator, or NULL");
    *size = communicator->ranks();
    return HCCL_SUCCESS;
}

HcclResult HcclGetRankId(HcclComm comm, uint32_t *rank)
{
    const Handle communicator = handle_get(comm);

    if (!communicator || !rank)
        return fail(HCCL_E_PARA, "HcclGetRankId: not a live communicator, or NULL");
    *rank = communicator->rank;
    return HCCL_SUCCESS;
}

HcclResult HcclGetCommAsyncError(HcclComm comm, HcclResult *error)
{
    const Handle communicator = handle_get(comm);

    if (!communicator || !error)
        return fail(HCCL_E_PARA, "HcclGetCommAsyncError: not a live communicator, or NULL");
    *error = static_cast<HcclResult>(communicator->async_error.load());
    return HCCL_SUCCESS;
}

uint32_t HcclGetCommConfigCapability()
{
    return HCCL_COMM_CONFIG_RESERVED;
}
