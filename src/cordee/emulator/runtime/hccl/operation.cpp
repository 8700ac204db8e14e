// Queues operations on streams and keeps the order of their communicator.
#include "operation.h"

#include <stdlib.h>

#include <acl/error_codes/rt_error_codes.h>

#include "cordee_work.h"

namespace hccl {
namespace {

struct Task {
    Operation *operation;
    uint64_t ticket;
    aclrtStream stream;
};

aclError wait_for_turn(Communicator &communicator, uint64_t ticket, aclrtStream stream)
{
    while (!communicator.is_turn(ticket, kSliceMs)) {
        if (communicator.destroyed)
            return ACL_ERROR_RT_STREAM_ABORT;
        if (aclError code = cordee_interrupted(stream); code != ACL_SUCCESS)
            return code;
    }
    return ACL_SUCCESS;
}

aclError work(void *argument, aclError before)
{
    const Task task = *static_cast<Task *>(argument);
    const std::unique_ptr<Operation> operation(task.operation);
    Communicator &communicator = operation->communicator();
    aclError code = before;

    if (code == ACL_SUCCESS)
        code = wait_for_turn(communicator, task.ticket, task.stream);
    if (code == ACL_SUCCESS) {
        operation->entry.begun_ns = now_ns();
        code = operation->run(Patience(*operation, task.stream));
    }
    operation->entry.ended_ns = now_ns();
    communicator.finish(task.ticket);
    journal_note(*operation, code);
    return code;
}

} // namespace

HcclResult launch_now(std::unique_ptr<Operation> operation, aclrtStream stream)
{
    Communicator &communicator = operation->communicator();

    if (cordee_chip(stream) < 0)
        return fail(HCCL_E_PARA, "%s: not a live stream", operation->what());
    auto *task = static_cast<Task *>(malloc(sizeof(Task)));
    if (!task)
        return HCCL_E_MEMORY;
    operation->entry.issued_ns = now_ns();
    if (journal_is_kept())
        aclrtStreamGetId(stream, &operation->entry.stream);
    *task = {operation.get(), communicator.issue(), stream};
    const uint64_t ticket = task->ticket;
    if (cordee_queue(stream, work, task) != ACL_SUCCESS) {
        communicator.finish(ticket);
        return HCCL_E_RUNTIME;
    }
    operation.release();
    return HCCL_SUCCESS;
}

} // namespace hccl
