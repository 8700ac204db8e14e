/* Device binaries: programs for the chip's cores, which cannot run here and are refused.
 *
 * Follows: CANN "Runtime API", chapter Kernel Loading and Execution; and the older rt* calls that
 * the adapter's compilers still use.
 */
#include "chip.h"

aclError aclrtBinaryLoadFromData(const void *data, size_t length,
                                 const aclrtBinaryLoadOptions *options, aclrtBinHandle *handle)
{
    (void)data, (void)length, (void)options, (void)handle;
    return chip_not_emulated("aclrtBinaryLoadFromData (running a compiled device kernel)");
}

aclError aclrtBinaryLoadFromFile(const char *path, aclrtBinaryLoadOptions *options,
                                 aclrtBinHandle *handle)
{
    (void)path, (void)options, (void)handle;
    return chip_not_emulated("aclrtBinaryLoadFromFile (running a compiled device kernel)");
}

aclError aclrtBinaryGetFunction(const aclrtBinHandle handle, const char *name,
                                aclrtFuncHandle *function)
{
    (void)handle, (void)name, (void)function;
    return chip_not_emulated("aclrtBinaryGetFunction (running a compiled device kernel)");
}

aclError aclrtGetFunctionAddr(aclrtFuncHandle function, void **cube, void **vector)
{
    (void)function, (void)cube, (void)vector;
    return chip_not_emulated("aclrtGetFunctionAddr (running a compiled device kernel)");
}

aclError aclrtLaunchKernelWithHostArgs(aclrtFuncHandle function, uint32_t blocks,
                                       aclrtStream stream, aclrtLaunchKernelCfg *configuration,
                                       void *arguments, size_t size,
                                       aclrtPlaceHolderInfo *holes, size_t hole_count)
{
    (void)function, (void)blocks, (void)stream, (void)configuration, (void)arguments, (void)size;
    (void)holes, (void)hole_count;
    return chip_not_emulated("aclrtLaunchKernelWithHostArgs (running a compiled device kernel)");
}

aclError aclrtGetHardwareSyncAddr(void **address)
{
    (void)address;
    return chip_not_emulated("aclrtGetHardwareSyncAddr");
}

/* The rt* functions have no public header; arguments are not looked at. */
CORDEE_API int32_t rtDevBinaryRegister(const void *binary, void **handle)
{
    (void)binary, (void)handle;
    return chip_not_emulated("rtDevBinaryRegister (running a compiled device kernel)");
}

CORDEE_API int32_t rtFunctionRegister(void *binary, const void *stub, const char *name,
                                      const void *function, uint32_t mode)
{
    (void)binary, (void)stub, (void)name, (void)function, (void)mode;
    return chip_not_emulated("rtFunctionRegister (running a compiled device kernel)");
}

CORDEE_API int32_t rtKernelLaunch(const void *function, uint32_t blocks, void *arguments,
                                  uint32_t size, void *description, void *stream)
{
    (void)function, (void)blocks, (void)arguments, (void)size, (void)description, (void)stream;
    return chip_not_emulated("rtKernelLaunch (running a compiled device kernel)");
}

CORDEE_API int32_t rtGetC2cCtrlAddr(uint64_t *address, uint32_t *length)
{
    (void)address, (void)length;
    return chip_not_emulated("rtGetC2cCtrlAddr");
}
