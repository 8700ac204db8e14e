/* Sharing memory and events among processes. */
#include "event.h"

void event_ipc_close(event *e)
{
    (void)e;
}

aclError aclrtMemExportToShareableHandle(aclrtDrvMemHandle handle, aclrtMemHandleType type,
                                         uint64_t flags, uint64_t *shareable)
{
    (void)handle, (void)type, (void)flags, (void)shareable;
    return chip_not_emulated("aclrtMemExportToShareableHandle");
}

aclError aclrtMemImportFromShareableHandle(uint64_t shareable, int32_t device,
                                           aclrtDrvMemHandle *handle)
{
    (void)shareable, (void)device, (void)handle;
    return chip_not_emulated("aclrtMemImportFromShareableHandle");
}

aclError aclrtMemSetPidToShareableHandle(uint64_t shareable, int32_t *pids, size_t count)
{
    (void)shareable, (void)pids, (void)count;
    return chip_not_emulated("aclrtMemSetPidToShareableHandle");
}
