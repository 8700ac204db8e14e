// Communicators after their chip was stopped: suspended until they are resumed.
//
// Follows: CANN "HCCL API" and github.com/Ascend/pytorch, torch_npu/npu/_recovery.py.
#include "cordee_work.h"
#include "creation.h"

using namespace hccl;

HcclResult HcclCommSuspend(HcclComm comm)
{
    const Handle communicator = handle_get(comm);

    if (!communicator)
        return fail(HCCL_E_PTR, "HcclCommSuspend: not a live communicator");
    communicator->suspended = true;
    return HCCL_SUCCESS;
}

// All ranks call it; messages under way are lost, so lines between hosts are made anew.
HcclResult HcclCommResume(HcclComm comm)
{
    const Handle communicator = handle_get(comm);

    if (!communicator)
        return fail(HCCL_E_PTR, "HcclCommResume: not a live communicator");
    communicator->next_epoch();
    return connect(*communicator, communicator->epoch);
}

// Which of a die's two network ports is used makes no difference here, as without HCCL_OP_RETRY_ENABLE
// on hardware: the vendor's call then succeeds and switches nothing.
HcclResult HcclCommWorkingDevNicSet(HcclComm comm, uint32_t *ranks, bool *use_backup, uint32_t count)
{
    const Handle communicator = handle_get(comm);

    if (!communicator || !ranks || !use_backup)
        return fail(HCCL_E_PTR, "HcclCommWorkingDevNicSet: not a live communicator, or NULL");
    for (uint32_t i = 0; i < count; i++)
        if (ranks[i] >= communicator->ranks())
            return fail(HCCL_E_PARA, "HcclCommWorkingDevNicSet: rank %u of %u ranks", ranks[i],
                        communicator->ranks());
    return HCCL_SUCCESS;
}
